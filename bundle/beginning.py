"""What is looked at before a training begins: whether there is something to learn, and from."""

import logging
from collections.abc import Sized
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from bundle.checkpoints import unwrap
from bundle.continuation import within_epochs

logger = logging.getLogger("bundle.training")


def check_save_every(save_every: int | None, trainer: Any) -> None:
    """Raises: ValueError: it is no number of steps, or the loader cannot go on within an epoch."""
    if save_every is None:
        return
    if type(save_every) is not int or save_every < 1:
        raise ValueError(
            f"save_every is {save_every!r}; give a number of steps, such as 200, or null to save after each epoch."
        )
    if not within_epochs(trainer):
        raise ValueError(
            "save_every: this training's loader cannot go on within an epoch; give it a sampler that can, such as "
            "bundle.data.loading.EpochSampler, or null to save after each epoch."
        )


def check_batches(trainer: Any) -> None:
    """MONAI's and ignite's engines would train nothing, and end well."""
    loader, found = getattr(trainer, "data_loader", None), ""
    empty = trainer.state.epoch_length == 0
    if isinstance(loader, DataLoader) and isinstance(loader.dataset, Sized):
        # pretrain.json's epochs may have a length of their own, whatever the loader's
        empty = empty or len(loader) == 0
        ranks = getattr(loader.sampler, "num_replicas", 1)
        found = f": {len(loader.dataset)} images, batch size {loader.batch_size}"
        found += f" on each of {ranks} ranks" if ranks > 1 else ""
    if empty:
        raise ValueError(
            f"There is nothing to train on, not one whole batch an epoch{found}. Add images, or lower the batch size."
        )


def check_one_optimizer(optimizer: Any, trainer: Any, lr_scheduler: Any) -> None:
    """A schedule of another optimizer, such as the one before it was sharded, would change nothing.

    Raises: ValueError: the trainer or the schedule has another optimizer than the one that is saved.
    """
    for name, owner in (("The trainer", trainer), ("The learning rate's schedule", lr_scheduler)):
        if getattr(owner, "optimizer", optimizer) is not optimizer:
            raise ValueError(
                f"{name} has another optimizer than `resumable`. Give the trainer, the schedule and `resumable` the "
                "same, @stepping_optimizer, which is the sharded one where shard_optimizer is true."
            )


def check_prompts(network: nn.Module) -> None:
    """Without them the loss is finite, and teaches nothing."""
    if not getattr(unwrap(network), "has_prompts", True):
        raise ValueError(
            "The network has no text tower, and no weights with prompts were loaded: its findings have no prompts "
            "but zeros, and nothing would be learnt. Give `pretrained` a folder of CLIP or SigLIP, `clip` a `text` "
            "tower or a `text_encoder`, or `init_checkpoint` a file."
        )


def check_beginning(network: nn.Module) -> None:
    """What is random and frozen learns nothing, and the losses do not show it."""
    logger.info("Starting from the network as configured: no checkpoint to begin from is given (init_checkpoint).")
    check_prompts(network)
    for name, module in unwrap(network).named_modules():
        for part in getattr(module, "random", ()):
            if not any(p.requires_grad for p in module.get_submodule(part).parameters()):
                logger.warning(
                    f"{name}.{part} has random weights and is frozen: it stays random. If that is not meant, give "
                    "`pretrained` or `init_checkpoint`, or name it in `trainable`."
                )
