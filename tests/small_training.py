"""A small training in which all is there that must survive a stop: what draws, what is frozen, what validates."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Events
from ignite.metrics import Average
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler, from_engine
from monai.transforms import Compose
from torch import nn

from bundle.data.loading import EpochSampler
from bundle.engines import TrainingStep
from bundle.handlers import LossTerms
from bundle.precision import Precision
from bundle.training import ResumableTraining, better

IMAGES, BATCH, STEPS = 12, 2, 6

STEP = TrainingStep(Precision("float32", channels_last=False), network_keys=(), full=False)


class Epochs:
    """Changes an image by the epoch, as the augmentations do."""

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __call__(self, item):
        noise = np.random.default_rng((self.epoch, item["index"])).normal(size=5)
        return {"image": torch.as_tensor(item["image"] + noise, dtype=torch.float32), "index": item["index"]}


class Net(nn.Sequential):
    """What draws (dropout), what changes without an optimizer (batch norm), what is frozen, what a name hides."""

    def __init__(self, frozen_seed=1):
        torch.manual_seed(frozen_seed)
        frozen = nn.Linear(5, 8).requires_grad_(False)
        torch.manual_seed(7)
        super().__init__(frozen, nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, image):
        return super().forward(image + (random.random() + np.random.rand() if self.training else 0))


def adamw(network):
    return torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.05)


class Training:
    """A real, small training; `figures` are what each epoch logs."""

    def __init__(self, folder, epochs=3, workers=0, length=None, frozen_seed=1, sampler=EpochSampler, **more):
        random.seed(5)
        np.random.seed(5)
        rng = np.random.default_rng(0)
        data = [{"image": rng.normal(size=5), "index": i, "boxes": [0] * (i % 3 == 0)} for i in range(IMAGES)]
        dataset = Dataset(data, Compose([Epochs()]))
        self.network, self.figures, self.orders = Net(frozen_seed), {}, []
        wrap, accumulation = more.pop("wrap", lambda network: network), more.pop("accumulation_steps", 1)
        wrapped = wrap(self.network)
        optimizer = more.pop("optimizer", adamw)(self.network)
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=15)
        evaluator = SupervisedEvaluator(
            device="cpu",
            val_data_loader=DataLoader(dataset, batch_size=4, num_workers=0),
            network=wrapped,
            iteration_update=lambda engine, batch: {"loss": engine.network.eval()(batch["image"]).mean()},
            key_val_metric={"mean": Average(output_transform=lambda output: output["loss"].detach())},
            metric_cmp_fn=better,
            decollate=False,
        )
        self.trainer = SupervisedTrainer(
            device="cpu",
            max_epochs=epochs,
            train_data_loader=DataLoader(
                dataset, batch_size=BATCH, sampler=sampler(dataset), num_workers=workers, drop_last=True
            ),
            epoch_length=length,
            network=wrapped,
            optimizer=optimizer,
            loss_function=lambda output, _: {"loss": (term := output.square().mean()), "square": term},
            iteration_update=more.pop("step", STEP),
            key_train_metric={"loss": Average(output_transform=from_engine(["loss"], first=True))},
            accumulation_steps=accumulation,
            train_handlers=[LossTerms(), ValidationHandler(1, evaluator), LrScheduleHandler(scheduler)],
            decollate=False,
        )
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self.look)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.note)
        self.evaluator = evaluator
        self.resumable = ResumableTraining(
            self.trainer, wrapped, optimizer, folder, scheduler, evaluator=evaluator, seed=3, **more
        )

    def look(self, engine):
        self.orders.append((engine.state.iteration, engine.state.batch["index"].tolist()))

    def note(self, engine):
        validated = self.evaluator.state.metrics["mean"]
        self.figures[engine.state.epoch] = {**engine.state.metrics, "validated": validated}

    def run(self):
        self.resumable.run()
        return self

    def killed(self, event):
        """Run until then, and end as a kill does: nothing more is written."""

        def kill(_):
            raise KeyboardInterrupt

        engine, when = event
        getattr(self, engine).add_event_handler(when, kill)
        with pytest.raises(KeyboardInterrupt):
            self.run()


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def ended(folder):
    return [torch.load(folder / name, weights_only=True) for name in ("last.pt", "model.pt")]


def after(iteration):
    return "trainer", Events.ITERATION_COMPLETED(once=iteration)


IN_VALIDATION = ("evaluator", Events.ITERATION_COMPLETED(once=2))  # the next, after its second batch
