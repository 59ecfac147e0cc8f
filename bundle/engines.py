"""The adapter between the network's call and MONAI's ignite engines: one training step, one evaluation step.

Given as `iteration_update` to `SupervisedTrainer` and `SupervisedEvaluator`. A step calls the network through
`forward` only (any other method bypasses DistributedDataParallel's gradient synchronisation).
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from torch.nn.parallel import DistributedDataParallel

from bundle.precision import Precision

TRUTH = (
    *("index", "group", "label", "boxed", "boxes", "box_finding", "box_cnr"),
    *("canvas_from_stored", "stored_size", "pixel_mm"),
)


class Step:
    """What training and evaluation share.

    Args:
        precision: number format and layout.
        network_keys: batch keys handed to the network as keyword arguments, beside the image.
        full: ask the network for everything (`full=True`).
    """

    def __init__(self, precision: Precision, network_keys: tuple[str, ...] = (), full: bool = True) -> None:
        self.precision, self.network_keys, self.full = precision, tuple(network_keys), full

    def _forward(self, engine: Any, batch: Mapping[str, Any]) -> tuple[Any, dict[str, torch.Tensor]]:
        device = engine.state.device
        moved = {
            key: plain(value).to(device, non_blocking=engine.non_blocking)
            for key, value in batch.items()
            if isinstance(value, torch.Tensor)
        }
        moved = self._augmented(engine, moved)
        known = {key: moved[key] for key in self.network_keys}
        image = self.precision.layout(self._seen(engine, moved))
        if self.full:
            known["full"] = True  # type: ignore[assignment]
        return engine.inferer(image, engine.network, **known), moved

    def _augmented(self, _: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The batch that network, teacher and loss get."""
        return batch

    def _seen(self, _: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The images (B, 1, Hc, Wc) that the network gets of a batch."""
        return batch["image"]


class Accumulated(NamedTuple):
    """An iteration's place among those whose gradients make one step of the optimizer."""

    begins: bool
    ends: bool
    size: int


def accumulated(engine: Any) -> Accumulated:
    """Where `engine.state.iteration` is: each `engine.accumulation_steps` make a step, an epoch's last may be fewer."""
    if (steps := getattr(engine, "accumulation_steps", 1)) == 1:
        return Accumulated(True, True, 1)
    length = engine.state.epoch_length
    place = (engine.state.iteration - 1) % length
    first = place - place % steps
    size = min(steps, length - first)
    return Accumulated(place == first, place == first + size - 1, size)


class TrainingStep(Step):
    """Forward, loss, backward; clip and step, of the mean gradient of as many batches as MONAI's trainer accumulates.

    `engine.state.output` is a list of one dict, the shape that MONAI's handlers read: `loss` (scalar) and `terms`, the
    loss's named terms, detached.

    Args:
        precision: number format and layout.
        network_keys: see `Step`.
        full: see `Step`.
        max_grad_norm: clips the norm of a step's gradient; None does not.
        teacher: such as `bundle.networks.RegionTeacher`: what it makes of the batch joins the network's output.
        photometric: such as `bundle.transforms.RandomPhotometry`: changes the images that the network gets, by their
            `index` and the epoch. A teacher looks at them as they are.
        augmentation: such as `bundle.transforms.RandomAugmentation`: moves and re-exposes the images that network and
            teacher get, as their `augmentation` says.

    Raises:
        FloatingPointError: the loss is not finite; the message names the terms that are not.
    """

    def __init__(
        self,
        precision: Precision,
        network_keys: tuple[str, ...] = ("patch_mask",),
        full: bool = True,
        max_grad_norm: float | None = None,
        teacher: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]] | None = None,
        photometric: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor] | None = None,
        augmentation: Callable[[Mapping[str, torch.Tensor], int], torch.Tensor] | None = None,
    ) -> None:
        super().__init__(precision, network_keys, full)
        self.max_grad_norm, self.teacher, self.photometric = max_grad_norm, teacher, photometric
        self.augmentation = augmentation

    def _augmented(self, engine: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.augmentation is not None:
            return batch | {"image": self.augmentation(batch, engine.state.epoch)}
        if "augmentation" in batch:
            raise ValueError(
                "The boxes of the samples are augmented, the images are not: give the training step (iteration_update) "
                "a bundle.transforms.RandomAugmentation with the ranges of AugmentRadiographd."
            )
        return batch

    def _seen(self, engine: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.photometric is None:
            return batch["image"]
        return self.photometric(batch["image"], batch["index"], engine.state.epoch)

    def __call__(self, engine: Any, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        engine.network.train()
        place = accumulated(engine)
        if place.begins:
            engine.optimizer.zero_grad(set_to_none=True)
        # the ranks' gradients are brought together once a step
        alone = isinstance(engine.network, DistributedDataParallel) and not place.ends
        with engine.network.no_sync() if alone else nullcontext():
            loss, terms = self._loss(engine, batch)
            (loss / place.size if place.size > 1 else loss).backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if place.ends:
            if self.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(engine.network.parameters(), self.max_grad_norm)
            engine.optimizer.step()
        named = {name: term.detach() for name, term in terms.items() if name != "loss"}
        engine.state.output = [{"loss": loss.detach(), "terms": named}]
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _loss(self, engine: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with self.precision.context(engine.state.device):
            output, target = self._forward(engine, batch)
            if self.teacher is not None:
                output = {**output, **self.teacher(target)}
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        terms: dict[str, torch.Tensor] = engine.loss_function(output, target)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        loss = terms["loss"]
        if not torch.isfinite(loss):
            broken = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise FloatingPointError(
                f"Epoch {engine.state.epoch}, iteration {engine.state.iteration}: the loss terms {broken} are not "
                "finite. Lower the learning rate, set max_grad_norm, or use autocast 'float32'."
            )
        return loss, terms


class EvaluationStep(Step):
    """Forward only. `engine.state.output` holds `pred` (B, K, Gh, Gw) and, in full, `scores` of (B, K) each.

    Args:
        precision: number format and layout.
        network_keys: see `Step`.
        full: see `Step`.
        outputs: which of the network's outputs to keep.
        truth: batch keys to hand on beside them, where they are there, so that post-processing and metrics find
            prediction and truth in one place.
    """

    def __init__(
        self,
        precision: Precision,
        network_keys: tuple[str, ...] = (),
        full: bool = True,
        outputs: tuple[str, ...] = ("pred", "scores"),
        truth: tuple[str, ...] = TRUTH,
    ) -> None:
        super().__init__(precision, network_keys, full)
        self.outputs, self.truth = tuple(outputs), tuple(truth)

    def __call__(self, engine: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        with engine.mode(engine.network), self.precision.context(engine.state.device):
            output, _ = self._forward(engine, batch)
        output = output if isinstance(output, Mapping) else {"pred": output}
        engine.state.output = {key: output[key] for key in self.outputs if key in output}
        engine.state.output |= {key: plain(batch[key]) for key in self.truth if key in batch}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output


class LossEvaluationStep(Step):
    """Forward and loss without a gradient, for validating a pretraining by its loss.

    Args:
        precision: number format and layout.
        loss_function: as the trainer's.
        network_keys: see `Step`.
        full: see `Step`.
    """

    def __init__(
        self,
        precision: Precision,
        loss_function: Callable[..., dict[str, torch.Tensor]],
        network_keys: tuple[str, ...] = ("input_ids", "attention_mask"),
        full: bool = False,
    ) -> None:
        super().__init__(precision, network_keys, full)
        self.loss_function = loss_function

    def __call__(self, engine: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
        with engine.mode(engine.network), self.precision.context(engine.state.device):
            output, target = self._forward(engine, batch)
        engine.state.output = {"loss": self.loss_function(output, target)["loss"]}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without MONAI's metadata."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
