"""What other runs made, taken into a comparison only where it belongs there: weights, and records judged elsewhere."""

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bundle.checkpoints import load_weights
from bundle.made_for import ATTRIBUTE, differing
from bundle.metrics.records import Records
from bundle.metrics.records_check import check_same_truth
from bundle.metrics.records_io import load_records, records_made_for
from bundle.networks import PatchCLIP

logger = logging.getLogger(__name__)


class OtherNetwork(NamedTuple):
    """A network of another training.

    Attributes:
        network: with its weights; None where they do not belong here.
        weights: their file; None likewise.
        left_out: why; empty where they belong here.
    """

    network: PatchCLIP | None
    weights: Path | None
    left_out: str


def other_network(
    network: PatchCLIP, weights: str | Path, reference: str | Path, made_for: Mapping[str, Any]
) -> OtherNetwork:
    """Give a network the weights of another training, if that learnt from the data that the reference learnt from.

    Args:
        network: to be given the weights.
        weights: its file.
        reference: the file of the reference's weights, which may have learnt elsewhere, as long as both did.
        made_for: the training data of this configuration, for a reference that does not say what it learnt from.

    Returns:
        The network; or why there is none, which is logged too.
    """
    why = _foreign_weights(network, Path(weights), Path(reference), made_for)
    if why:
        logger.warning("The network trained otherwise is left out of the comparison: %s.", why)
        return OtherNetwork(None, None, why)
    return OtherNetwork(network, Path(weights), "")


def _foreign_weights(network: PatchCLIP, weights: Path, reference: Path, made_for: Mapping[str, Any]) -> str:
    """Why weights do not belong here; empty where they do, and then the network has them."""
    if not weights.is_file():
        return f"there are no weights at {weights}"
    try:
        other = differing(_said_by(weights), _said_by(reference) or made_for)
        if other:
            return f"the weights at {weights} learnt from something else: {other}"
        load_weights(network, weights)
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        return f"the weights at {weights} cannot be used: {str(error).splitlines()[0]}"
    return ""


def _said_by(weights: Path) -> Any:
    """What weights say that they learnt from; None where they do not. The tensors stay on disk."""
    return getattr(torch.load(weights, map_location="cpu", weights_only=True, mmap=True), ATTRIBUTE, None)


def records_elsewhere(
    name: str, folder: Path, made_for: Mapping[str, Any], reference: Records
) -> tuple[Records | None, str]:
    """Records of a method that another evaluation judged, if it judged the same images by the same truth.

    Args:
        name: of the method.
        folder: of the records.
        made_for: what they must have been made for.
        reference: records that they must be comparable with.

    Returns:
        The records and "", or None and why they are left out, which is logged too.
    """
    records, why = _read(name, folder, made_for, reference)
    if why:
        logger.warning("%s is left out of the comparison: %s.", name, why)
    return records, why


def _read(name: str, folder: Path, made_for: Mapping[str, Any], reference: Records) -> tuple[Records | None, str]:
    if not (folder / "records.json").is_file():
        return None, f"there are no records at {folder}"
    try:
        other = differing(records_made_for(folder), made_for)
        if other:
            return None, f"the records at {folder} were made for something else: {other}"
        records = load_records(folder)
    except (OSError, ValueError) as error:
        return None, f"the records at {folder} cannot be read: {error}"
    try:
        check_same_truth({name: records, "the reference": reference}, "the reference")
    except ValueError as error:
        return None, f"the records at {folder} were judged otherwise: {error}"
    return records, ""
