"""The terms of an epoch, and none of an epoch before."""

import torch
from ignite.engine import Engine, Events

from bundle.handlers import LossTerms


def test_means_by_epoch_and_no_stale_terms():
    terms = {1: [{"report": 1.0}, {"report": 3.0}], 2: [{"region": 5.0}, {"region": 7.0}]}

    def step(engine, number):
        named = {name: torch.tensor(value) for name, value in terms[engine.state.epoch][number].items()}
        return [{"loss": sum(named.values()), "terms": named}]

    engine, seen = Engine(step), []
    engine.state.metrics["stage"] = 1
    LossTerms().attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: seen.append(dict(e.state.metrics)))
    engine.run([0, 1], max_epochs=2)
    assert seen == [
        {"stage": 1, "loss/report": 2.0, "loss/total": 2.0},
        {"stage": 1, "loss/region": 6.0, "loss/total": 6.0},
    ]
