"""Federated averaging of trainings of this bundle, each run by `monai.fl.client.MonaiAlgo` on a hospital's own data."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import run
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from bundle.atomic import write_json
from bundle.checkpoints import load_weights, save_atomically

logger = logging.getLogger(__name__)

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Site:
    """A hospital: its name and the folder with its datalist.json, all that its training reads of the data."""

    name: str
    dataset_dir: Path


def federated_average(
    weights: Sequence[Weights], counts: Sequence[int], names: Sequence[str] | None = None
) -> dict[str, torch.Tensor]:
    """FedAvg: w = sum_i n_i w_i / sum_i n_i, of every entry of the sites' state dicts.

    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017. Summed in
    float64. Entries that are the same everywhere, such as frozen weights, stay so to the last bit; running means of
    batch normalisation are averaged like weights, counts of batches become the largest.

    Args:
        weights: a state dict a site.
        counts: n_i, training images of each site.
        names: of the sites, for messages; None numbers them.

    Returns:
        The averaged state dict, in the types of the first.

    Raises:
        ValueError: no site, a count below 1, other entries or shapes at one site, other findings, or NaN or infinity.
    """
    if not weights or len(weights) != len(counts) or min(counts) < 1:
        raise ValueError(f"Wanted one count of at least 1 for each of at least one site; got {list(counts)}.")
    names = names or [f"Site {number}" for number in range(len(weights))]
    first, total = weights[0], sum(counts)
    for site, own in zip(names, weights, strict=True):
        if broken := [name for name, value in own.items() if not value.isfinite().all()]:
            raise ValueError(
                f"{site} sent NaN or infinity in {len(broken)} entries: {broken[:5]}; nothing is averaged. Wanted "
                "finite weights: its training diverged. Lower its learning rate, see its data, or leave the site out."
            )
    for site, other in zip(names[1:], weights[1:], strict=True):
        differing = {n for n in first.keys() & other.keys() if first[n].shape != other[n].shape}
        if wrong := sorted(differing | (first.keys() ^ other.keys())):
            raise ValueError(f"{site} trains another network than {names[0]}: {wrong[:5]} differ. Give all one config.")
    return {name: _average(name, [w[name] for w in weights], counts, total) for name in first}


def _average(name: str, values: Sequence[torch.Tensor], counts: Sequence[int], total: int) -> torch.Tensor:
    first = values[0]
    if all(torch.equal(first, value) for value in values[1:]):
        return first.clone()
    if not first.is_floating_point():
        if name.endswith("num_batches_tracked"):
            return torch.stack(list(values)).amax(0)
        raise ValueError(f"{name} differs between sites and is no number to average: give all the same findings.")
    summed = sum(n * value.double() for n, value in zip(counts, values, strict=True))
    return (summed / total).to(first.dtype)  # type: ignore[union-attr]


class Federation:
    """Sites that train one network together; weights travel, images do not.

    A round: every site gets the global weights, trains `local_epochs` on its own training section, and sends its
    weights; their average is the new global network, which every site then judges on its own validation section. The
    sites' optimizers and schedules go on from round to round.

    The bundle is not changed for it: a site is a `MonaiAlgo` with the bundle's configs and its own `dataset_dir`.

    Args:
        bundle_root: of the bundle whose configs are run.
        config_files: the training's config and its overlays, absolute or below `bundle_root`.
        sites: at least one.
        output: folder for `weights.pt`, `rounds.json`, and what the final evaluation writes.
        rounds: number of rounds.
        local_epochs: of each site in each round.
        initial_weights: file to begin with; None begins as the first site's network does.
        overrides: of the configs, for all sites.
    """

    def __init__(
        self,
        bundle_root: Path,
        config_files: Sequence[str],
        sites: Sequence[Site],
        output: Path,
        rounds: int = 2,
        local_epochs: int = 1,
        initial_weights: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.bundle_root, self.config_files, self.output = bundle_root, list(config_files), output
        self.sites, self.rounds, self.initial_weights = list(sites), rounds, initial_weights
        self.overrides = dict(overrides or {})
        self.weights_path = output / "weights.pt"
        self.clients = [self._client(site, rounds * local_epochs, local_epochs) for site in self.sites]

    def _client(self, site: Site, epochs: int, local_epochs: int) -> MonaiAlgo:
        folder = self.output / site.name
        own = {"dataset_dir": str(site.dataset_dir), "output_dir": str(folder), "ckpt_dir": str(folder)}
        # max_epochs: of all rounds, for the schedule; MonaiAlgo stops after each round's
        settings = {**self.overrides, **own, "max_epochs": epochs}
        client = MonaiAlgo(
            bundle_root=str(self.bundle_root),
            local_epochs=local_epochs,
            send_weight_diff=False,
            config_train_filename=list(self.config_files),
            train_kwargs=dict(settings),
            config_evaluate_filename=list(self.config_files),  # a site judges on its validation section
            eval_kwargs=dict(settings),
        )
        client.initialize(extra={ExtraItems.CLIENT_NAME: site.name})
        return client

    def train(self) -> dict[str, torch.Tensor]:
        """All rounds. Writes `weights.pt`, the global weights, and `rounds.json`, each site's metrics after each round.

        Returns:
            The global weights.
        """
        counts = [len(client.train_workflow.train_dataset_data) for client in self.clients]
        weights = self._initial()
        history = []
        for number in range(1, self.rounds + 1):
            updates = []
            for client in self.clients:
                client.train(ExchangeObject(weights=weights))
                # a copy: the client trains its own on
                updates.append({name: value.clone() for name, value in client.get_weights().weights.items()})
            weights = federated_average(updates, counts, [site.name for site in self.sites])
            metrics = {}
            for site, client in zip(self.sites, self.clients, strict=True):
                found = client.evaluate(ExchangeObject(weights=weights)).metrics
                metrics[site.name] = {name: float(v) for name, v in found.items() if isinstance(v, int | float)}
            history.append({"round": number, "images": counts, "validation": metrics})
            logger.info(f"Round {number} of {self.rounds}: {metrics}")
            save_atomically(weights, self.weights_path)
            write_json(self.output / "rounds.json", history)
        return weights

    def evaluate(self, dataset_dir: Path, evaluate_config: str = "configs/evaluate.json") -> Path:
        """Judge `weights.pt` on the test section of `dataset_dir`, by the bundle's evaluate workflow.

        Args:
            dataset_dir: with a datalist.json that no site trained on the test section of.
            evaluate_config: the overlay, absolute or below the bundle's root.

        Returns:
            The folder with metrics.json, report.html and records.
        """
        folder = self.output / "test"
        run(
            run_id="evaluating",
            config_file=[str(self.bundle_root / name) for name in (*self.config_files, evaluate_config)],
            logging_file=False,
            bundle_root=str(self.bundle_root),
            **{**self.overrides, "dataset_dir": str(dataset_dir), "output_dir": str(folder)},
            ckpt_path=str(self.weights_path),
        )
        return folder

    def _initial(self) -> dict[str, torch.Tensor]:
        first = self.clients[0]
        if self.initial_weights is not None:
            load_weights(first.trainer.network, self.initial_weights)
        return {name: value.clone() for name, value in first.get_weights().weights.items()}

    def close(self) -> None:
        """End the sites' workflows."""
        for client in self.clients:
            client.finalize()
