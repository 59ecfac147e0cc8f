"""A training that can be stopped anywhere and started again with the same command."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import nn

from bundle.atomic import remove_leftovers
from bundle.averaging import AveragedWeights
from bundle.beginning import check_batches, check_beginning, check_one_optimizer, check_prompts, check_save_every
from bundle.checkpoints import load_weights as load_weights
from bundle.checkpoints import previous_of, read_last, save_atomically, save_last, unwrap
from bundle.comments import without_comments
from bundle.continuation import TrainedWeights, device_of, go_on, state_of_ranks, within_epochs, world_size
from bundle.engines import accumulated
from bundle.made_for import ATTRIBUTE, differing
from bundle.optim import changed_settings, computed_as
from bundle.stopping import STATUS, Stopping, spare_workers

logger = logging.getLogger(__name__)

LAST, FORMAT, WHOLE = "last.pt", 2, 1
"""WHOLE is the format of checkpoints that held the frozen weights too; they are read, and no more written."""
ANOTHER = "another folder (init_checkpoint, ckpt_dir; in pretrain.json pretrain_init_checkpoint, pretrain_dir)"


def better(current: float, best: float) -> bool:
    """Whether a metric is a new best: larger, or the first number; while there is none, the latest NaN.

    MONAI's own never leaves a NaN behind: the weights of the first epoch would stay the best.
    """
    return math.isnan(best) or current > best


class ResumableTraining:
    """Runs a trainer to its last epoch; saves after every epoch, and within; goes on from what was saved last.

    Written to `folder` by rank 0, each first to a temporary file:

    - `last.pt`: what a restart goes on from: the weights that train, optimizer, schedule, place, random numbers, the
      epoch's sums so far, and the best metric. Of the frozen weights it holds a fingerprint: a restart has them from
      the network's configuration, `init_from` or `best_filename`, and refuses others. The one before is kept as
      `last_but_one.pt`, and taken where the last is damaged;
    - `best_filename`: all weights and nothing else, whenever the evaluator's key metric is a new best (every epoch, if
      there is no evaluator, or as long as its key metric is NaN; the last, if none was validated).

    What an epoch draws (order, augmentation, dropout) depends on (seed, epoch) alone, and within an epoch the random
    numbers are saved, so that on one CPU a resumed training ends with the bits of an uninterrupted one: weights,
    optimizer, figures. Not so what a loader's workers draw from the global generators; nothing of the bundle does.

    SIGTERM ends it with status 143 (`bundle.stopping`): after the step in hand, or the validation, saved.

    Args:
        trainer: MONAI trainer; its `max_epochs` is the goal.
        network: what trains, bare or in DistributedDataParallel.
        optimizer: its optimizer.
        folder: where checkpoints go.
        lr_scheduler: its schedule, or None.
        evaluator: the validating engine, or None.
        seed: of the experiment.
        init_from: weights to begin with, when there is nothing to resume.
        best_filename: file of the best weights.
        depends_on: what else decides what is learnt, by name, such as the fingerprint of a teacher's weights: a
            training goes on with the same alone.
        data: what is learnt from (`bundle.made_for.made_for`): a training goes on with the same alone, and its weights
            say it.
        save_every: steps (batches of each process) after which to save within an epoch, and before its last step, so
            that a validation that is stopped costs no more; None saves at the epochs' ends.
        average_decay: d of `bundle.averaging.AveragedWeights`, whose weights are validated and written to
            `best_filename` in place of the network's; None: the network's.
        left_out: section -> images that are not taken because they cannot be read (`bundle.data.bad_images`): a
            training goes on without the same alone, and says them once more in the end.
    """

    def __init__(
        self,
        trainer: Any,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        folder: str | Path,
        lr_scheduler: Any = None,
        evaluator: Any = None,
        seed: int = 0,
        init_from: str | Path | None = None,
        best_filename: str = "model.pt",
        depends_on: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        save_every: int | None = None,
        left_out: Mapping[str, Sequence[int]] | None = None,
        average_decay: float | None = None,
    ) -> None:
        self.trainer, self.network, self.optimizer, self.lr_scheduler = trainer, network, optimizer, lr_scheduler
        self.evaluator, self.seed, self.init_from = evaluator, seed, init_from
        self.depends_on, self.data = without_comments(depends_on), None if data is None else dict(data)
        self.left_out = {} if left_out is None else left_out
        self.last, self.best = Path(folder) / LAST, Path(folder) / best_filename
        self.save_every, self._saved_at, self._warned = save_every, 0, False
        self._trained = TrainedWeights(unwrap(network), optimizer)
        self._stopping, self.average_decay = Stopping(), average_decay
        self._averaged = None if average_decay is None else AveragedWeights(network, optimizer, average_decay)

    def run(self) -> None:
        """Train what is left to train.

        Raises:
            ValueError: `last.pt` is not of this training (other data, images left out, network, frozen weights,
                optimizer or its settings, schedule's length or teacher), there is no whole batch, nothing to learn from
                without text tower and weights, or `save_every` is no number of steps.
            FileNotFoundError: `init_from` does not exist.
            OSError: a checkpoint cannot be written; the one before is as it was.
            SystemExit: of status 143, on SIGTERM.
        """
        with self._stopping:
            self._run()

    def _run(self) -> None:
        check_batches(self.trainer)
        check_save_every(self.save_every, self.trainer)
        check_one_optimizer(self.optimizer, self.trainer, self.lr_scheduler)
        if self._averaged is not None:
            self._averaged.attach(self.trainer, self.evaluator)
        if self.last.is_file():
            self._load()
            done, goal = self.trainer.state.epoch, self.trainer.state.max_epochs
            if done >= goal:
                # ignite would begin again at epoch 0
                fixed = getattr(self.lr_scheduler, "total_steps", None) is not None
                on = f"begin another from them, in {ANOTHER}" if fixed else "raise the number of epochs"
                logger.info(
                    f"Nothing to do: this training finished ({done} of {goal} epochs). Its weights: {self.best}. "
                    f"To train on, {on}; to begin again, delete {self.last}."
                )
                return
            logger.info(f"Resuming after epoch {done} of {goal}{self._step()} from {self.last}.")
        elif self.init_from is not None:
            load_weights(self.network, self.init_from)
            check_prompts(self.network)
            logger.info(f"Starting from the weights in {self.init_from}.")
        else:
            check_beginning(self.network)
        if self._averaged is not None and not self.trainer.state.iteration:
            self._averaged.begin()
        # not when the epoch starts: a new iterator of the loader, made before that after a restart and else after it,
        # draws a number too
        self.trainer.add_event_handler(Events.ITERATION_STARTED, self._seed_epoch)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._save_best)
        # added last, so that validation and the schedule have had their turn
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._save_within)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._save_epoch)
        for engine in filter(None, (self.trainer, self.evaluator)):
            spare_workers(getattr(engine, "data_loader", None))
        self._frozen = self._trained.fingerprint()
        self._saved_at = self.trainer.state.iteration
        if self.trainer.state.rank == 0:
            for path in (self.last, previous_of(self.last), self.best):
                remove_leftovers(path)
        self.trainer.run()
        for section, places in self.left_out.items() if self.trainer.state.rank == 0 else ():
            logger.warning(f"Trained without {len(places)} images of {section} that cannot be read (on_bad_image).")

    def _step(self) -> str:
        """Where within an epoch, in words; empty between two."""
        state = self.trainer.state
        done = state.iteration % state.epoch_length
        return f", {done} of {state.epoch_length} steps of the next" if done else ""

    def _seed_epoch(self, engine: Any) -> None:
        """Before an epoch's first step."""
        if (engine.state.iteration - 1) % engine.state.epoch_length == 0:
            torch.manual_seed(self.seed * 1_000_003 + engine.state.epoch * 1009 + engine.state.rank)

    def _save_best(self, engine: Any) -> None:
        if engine.state.rank != 0:
            return
        if math.isnan(engine.state.best_metric) and not self._warned:
            logger.warning(
                f"The key metric {engine.state.key_metric_name} is not a number: the validation section has nothing to "
                f"judge it by, such as boxed lesions. Until it is one, {self.best} takes each epoch's weights, the "
                "last in the end."
            )
            self._warned = True
        if engine.state.best_metric_epoch == engine.state.epoch:
            save_atomically(self._weights(), self.best)

    def _save_within(self, engine: Any) -> None:
        """After a step: if it is time to, or if this is to be the last."""
        asked = self._stopping.asked(device_of(engine))
        done, left = engine.state.iteration, -engine.state.iteration % engine.state.epoch_length
        if left == 0 or not within_epochs(engine) or not accumulated(engine).ends:
            return  # the epoch's end saves, after the validation; and gradients are not saved
        last = left <= getattr(engine, "accumulation_steps", 1)
        due = self.save_every is not None and (done - self._saved_at >= self.save_every or last)
        if due or asked:
            self._save_last(engine)
        if asked:
            self._end()

    def _save_epoch(self, engine: Any) -> None:
        """After an epoch and its validation."""
        validation = self.evaluator.state if self.evaluator is not None else None
        # before last.pt: a training that is finished has its weights
        finished = engine.state.epoch == engine.state.max_epochs
        unjudged = finished and validation is not None and validation.best_metric_epoch == -1
        if validation is not None and not unjudged:  # for a tracker (`bundle.handlers.registered_model`)
            chosen = validation.key_metric_name, float(validation.best_metric), int(validation.best_metric_epoch)
            engine.state.chosen_by = chosen
        if engine.state.rank == 0:
            if unjudged:
                logger.warning(
                    f"No epoch of the {engine.state.max_epochs} was validated: {self.best} takes the last weights. "
                    "Lower val_interval, and see that the validation section has images, to keep the best."
                )
            if validation is None or unjudged:
                save_atomically(self._weights(), self.best)
        self._save_last(engine)
        if self._stopping.asked(device_of(engine)) and not finished:
            self._end()

    def _end(self) -> None:
        logger.warning(
            f"Asked to end (SIGTERM): saved after step {self.trainer.state.iteration} to {self.last}. The same command "
            "goes on from there."
        )
        if world_size() > 1:
            torch.distributed.barrier()  # the first may still be writing, and who ends first has the others ended
        raise SystemExit(STATUS)

    def _save_last(self, engine: Any) -> None:
        state = engine.state
        ranks = state_of_ranks(engine)
        if hasattr(self.optimizer, "consolidate_state_dict"):  # a sharded one's states are gathered of all ranks
            self.optimizer.consolidate_state_dict()
        self._saved_at = state.iteration
        if state.rank != 0:
            return
        validation = self.evaluator.state if self.evaluator is not None else None
        content = {
            "format": FORMAT,
            "depends_on": self.depends_on,
            "data": self.data,
            "left_out": dict(self.left_out),
            "network": self._trained.state(),
            "average_decay": self.average_decay,
            "averaged": None if self._averaged is None else self._trained.state(self._averaged.network),
            "frozen": self._frozen,
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
            "epoch": state.iteration // state.epoch_length,
            "iteration": state.iteration,
            "epoch_length": state.epoch_length,
            "accumulation_steps": getattr(self.trainer, "accumulation_steps", 1),
            "ranks": ranks,
            "tracked_run": getattr(state, "tracked_run", None),
            "best_metric": -1.0 if validation is None else float(validation.best_metric),
            "best_metric_epoch": -1 if validation is None else int(validation.best_metric_epoch),
        }
        save_last(content, self.last)

    def _weights(self) -> dict[str, Any]:
        """The network's state dict, which says what it learnt from."""
        network = self.network if self._averaged is None else self._averaged.network
        weights: dict[str, Any] = unwrap(network).state_dict()
        setattr(weights, ATTRIBUTE, self.data)
        return weights

    def _load(self) -> None:
        content = read_last(self.last)
        length = self.trainer.state.epoch_length
        if content.get("data") and self.data and (other := differing(content["data"], self.data)):
            raise ValueError(
                f"{self.last} learnt from something else: {other}. Give the data that it began with, or begin another "
                f"training, in {ANOTHER}, or delete it to begin anew."
            )
        if (before := content.get("left_out", {})) != self.left_out:
            then, now = (sum(map(len, each.values())) for each in (before, self.left_out))
            raise ValueError(
                f"{self.last} left {then} images out that could not be read, now {now} cannot, or others: all that "
                f"follows would be drawn otherwise. Bring the images back as they were, or begin another training, in "
                f"{ANOTHER}."
            )
        if content.get("format") not in (FORMAT, WHOLE) or content["epoch_length"] != length:
            raise ValueError(
                f"{self.last} is of another training: {content.get('epoch_length')} iterations an epoch, here {length} "
                "(other data, batch size or number of processes). Delete it to begin anew, or give another folder."
            )
        if (before := content.get("depends_on", self.depends_on)) != self.depends_on:
            raise ValueError(
                f"{self.last} learnt from {before}, this training from {self.depends_on}. Delete it to begin anew, or "
                "give what it began with."
            )
        here = {
            "accumulation_steps": getattr(self.trainer, "accumulation_steps", 1),
            "average_decay": self.average_decay,
        }
        for name, kept in (("accumulation_steps", 1), ("average_decay", None)):
            if (before := content.get(name, kept)) != here[name]:
                key = name.replace("accumulation", "accumulate")
                raise ValueError(
                    f"{self.last} was trained with {key} {before}, now {here[name]}. Give what it began with, or "
                    f"begin another training, in {ANOTHER}."
                )
        self._check_schedule(content["lr_scheduler"] or {})
        self._check_settings(content["optimizer"]["param_groups"])
        try:
            if content["format"] == WHOLE:
                unwrap(self.network).load_state_dict(content["network"])
            else:
                self._trained.load(content["network"])
            self.optimizer.load_state_dict(computed_as(content["optimizer"], self.optimizer))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.last} is of another training (its network or optimizer differs): {error}. "
                "Delete it to begin anew, or give another output folder."
            ) from error
        if content["format"] == FORMAT:
            self._find_frozen(content)
        if self._averaged is not None:
            self._averaged.begin()
            self._trained.load(content["averaged"], self._averaged.network)
        if self.lr_scheduler is not None and content["lr_scheduler"] is not None:
            self.lr_scheduler.load_state_dict(content["lr_scheduler"])
        state = self.trainer.state
        state.epoch, state.iteration = content["epoch"], content.get("iteration", content["epoch"] * length)
        state.tracked_run = content.get("tracked_run")  # a tracker's (`bundle.handlers.tracking`)
        if self.evaluator is not None:
            self.evaluator.state.best_metric = content["best_metric"]
            self.evaluator.state.best_metric_epoch = content["best_metric_epoch"]
        self._go_on(content.get("ranks", []))

    def _find_frozen(self, content: Mapping[str, Any]) -> None:
        """The frozen weights that a checkpoint goes on from, which it does not hold."""
        wanted = content["frozen"]
        if (first := self._trained.fingerprint()) == wanted:
            return
        for source in (self.init_from, self.best):
            if source is not None and Path(source).is_file():
                load_weights(self.network, source)
                self._trained.load(content["network"])
                if self._trained.fingerprint() == wanted:
                    return
        raise ValueError(
            f"{self.last} goes on from frozen weights of the fingerprint {wanted}, which it does not hold; those of "
            f"this network have {first}, and neither init_checkpoint ({self.init_from}) nor {self.best} has the "
            f"wanted. Give `pretrained` and `init_checkpoint` as they were, or begin another training, in {ANOTHER}."
        )

    def _go_on(self, ranks: Sequence[Mapping[str, Any]]) -> None:
        """From the place that was loaded."""
        state, world = self.trainer.state, world_size()
        known = len(ranks) == world  # else this is no checkpoint of as many processes, or an old one
        if state.iteration % state.epoch_length and not (known and within_epochs(self.trainer)):
            raise ValueError(
                f"{self.last} was saved within an epoch, by {len(ranks)} processes whose samplers can go on there; "
                f"here are {world}. Start as many, with the same loader, or delete it to begin anew."
            )
        go_on(self.trainer, ranks[state.rank] if known else None)

    def _check_schedule(self, stored: Mapping[str, Any]) -> None:
        """A one-cycle schedule made for so many steps cannot take more; torch would keep to the stored number."""
        before, now = stored.get("total_steps"), getattr(self.lr_scheduler, "total_steps", None)
        if before != now:
            raise ValueError(
                f"{self.last}: its learning rate's schedule was made for {before or 'any number of'} steps, this "
                f"training's is for {now or 'any number of'}. Give the number of epochs and the schedule that it began "
                f"with, or begin another training from its weights, {self.best}, in {ANOTHER}."
            )

    def _check_settings(self, stored: Sequence[Mapping[str, Any]]) -> None:
        """torch would keep to the stored settings, whatever is configured."""
        changed = changed_settings(stored, self.optimizer.param_groups)
        if changed:
            raise ValueError(
                f"{self.last} was trained with other settings of the optimizer: {'; '.join(dict.fromkeys(changed))}. "
                f"Give those that it began with, or begin another training, in {ANOTHER}."
            )
