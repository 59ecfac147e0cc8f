"""The handlers in a MONAI evaluator, named by configuration."""

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

from bundle.handlers.froc import FROC
from bundle.metrics import AUROCMetric, FROCMetric
from tests.metrics.drawn import random_evaluation

FINDINGS = ["A", "B", "C"]


def test_key_metric_and_details_of_an_evaluator():
    tables, truths, scores = random_evaluation(12)
    parser = ConfigParser(
        {
            "imports": ["$from tests.metrics.drawn import pairs"],
            "froc": {
                "_target_": "bundle.handlers.froc.FROC",
                "findings": FINDINGS,
                "output_transform": "$pairs('table')",
            },
            "auroc": {
                "_target_": "bundle.handlers.froc.AUROC",
                "findings": FINDINGS,
                "scores": ["image", "pooled"],
                "output_transform": "$pairs('scores')",
            },
        }
    )

    def step(engine, batch):
        return [{"table": tables[i], "truth": truths[i], "scores": scores[i]} for i in batch["number"].tolist()]

    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([{"number": i} for i in range(12)]), batch_size=5),
        network=torch.nn.Identity(),
        iteration_update=step,
        key_val_metric={"froc": parser.get_parsed_content("froc")},
        additional_metrics={"auroc": parser.get_parsed_content("auroc")},
        decollate=False,
    )
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
    froc(tables, truths)
    auroc(scores, truths)
    for _ in range(2):  # the second run starts from nothing again
        evaluator.run()
        assert evaluator.state.metrics["froc"] == froc.aggregate().item()
        assert evaluator.state.metrics["auroc"] == auroc.aggregate().item()
        assert evaluator.state.metric_details == {"froc": froc.details(), "auroc": auroc.details()}
    assert evaluator.state.best_metric == froc.aggregate().item()


def test_a_detached_handler_says_so():
    handler = FROC(FINDINGS)
    tables, truths, _ = random_evaluation(3)
    handler.update((tables, truths))
    with pytest.raises(RuntimeError, match="attach"):
        handler.compute()
    handler.save_details = False
    assert 0 <= handler.compute() <= 1
