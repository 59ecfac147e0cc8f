"""Files of weights, and of what a training resumes from: whole or not at all, read without running what they hold."""

import logging
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from bundle.atomic import atomic_path

logger = logging.getLogger(__name__)


def save_atomically(content: Any, path: Path) -> None:
    """torch.save to a temporary file beside `path`, then rename: a reader never meets half a file.

    Raises:
        OSError: it cannot be written, such as on a full disk; what was at `path` is as it was.
    """
    with atomic_path(path) as temporary:
        _save(content, temporary)


def _save(content: Any, temporary: Path) -> None:
    path = temporary.with_name(temporary.name.split(".", 2)[2])
    try:
        with temporary.open("wb") as stream:
            torch.save(content, stream)
    except (OSError, RuntimeError) as error:  # torch's writer has an error of its own for what the disk refuses
        reason = _refusal(error)
        if reason is None:
            raise
        free = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"{path} cannot be written: {reason}; {free:.0f} MB are free there. What was written before is as it was. "
            "Make room, or give another folder, and start the same command again: a training goes on from what it "
            "saved last."
        ) from error


def _refusal(error: BaseException | None) -> str | None:
    """What the system said, in an error or what caused it; None where it said nothing."""
    while error is not None:
        if isinstance(error, OSError):
            return error.strerror
        error = error.__cause__ or error.__context__
    return None


def read_weights(path: str | Path) -> dict[str, Any]:
    """A state dict, by name, on the CPU. Only tensors are read: nothing that a file may hold runs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no state dict, or one with values that are not finite; or a checkpoint to resume from.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}. Train first, or set the checkpoint's path to your file.")
    content = read_checkpoint(path)
    if "format" in content and "network" in content:
        raise ValueError(
            f"{path} is a checkpoint that a training resumes from. Give the weights alone, which lie beside it: "
            f"{path.with_name('model.pt')}."
        )
    broken = [k for k, v in content.items() if isinstance(v, torch.Tensor) and not v.isfinite().all()]
    if broken:
        raise ValueError(f"{path} has values that are not numbers, in {_some(broken)}. Give other weights.")
    return content


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read a state dict into a network, in the network's precision, all or nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_weights`; or the weights do not fit the network, the message says which.
    """
    content = read_weights(path)
    try:
        unwrap(network).load_state_dict(content)
    except RuntimeError as error:
        why = "; ".join(shorten(line, 300, placeholder=" ...") for line in str(error).splitlines()[1:])
        raise ValueError(
            f"{path} does not fit this network: {why}. Was it trained with another configuration? Give that one, or "
            "other weights."
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What torch.save wrote, by name, on the CPU; a bit that has flipped since is damage.

    Raises:
        ValueError: the file is damaged, or holds more than tensors, or something else than names and values.
    """
    try:
        if zipfile.is_zipfile(path):  # torch.save's, whose checksums torch.load does not look at
            with zipfile.ZipFile(path) as archive:
                if (broken := archive.testzip()) is not None:
                    raise ValueError(f"the checksum of {broken} is wrong")
        elif _begins(path) == b"PK":  # one that was cut; torch raises whatever its reader meets first
            raise ValueError("it has no end")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read: it is damaged, or no file of weights by torch.save, or holds more than tensors. "
            "Give a file that a training wrote."
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}; wanted weights by name, as a training writes them.")
    return dict(content)


def _begins(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(2)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" (of {len(names)})" if len(names) > 5 else "")


def unwrap(network: nn.Module) -> nn.Module:
    """The network itself, out of DistributedDataParallel."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def previous_of(last: Path) -> Path:
    """Where the checkpoint lies that was the last before this one."""
    return last.with_name(f"{last.stem}_but_one{last.suffix}")


def save_last(content: Any, last: Path) -> None:
    """Save what a training resumes from; what was the last before is kept beside it, for the case of damage.

    Raises:
        OSError: as `save_atomically`; both files are as they were.
    """
    with atomic_path(last) as new:
        _save(content, new)
        if last.is_file():
            with atomic_path(previous_of(last)) as temporary:
                try:
                    os.link(last, temporary)
                except OSError:  # a file system without hard links
                    shutil.copyfile(last, temporary)


def read_last(last: Path) -> dict[str, Any]:
    """What a training resumes from: the last checkpoint, or the one before it where a disk has damaged the last.

    Raises:
        ValueError: neither can be read.
    """
    try:
        return read_checkpoint(last)
    except ValueError as damage:
        if not previous_of(last).is_file():
            raise
        content = read_checkpoint(previous_of(last))
        logger.warning("%s Taken is the one before, of epoch %s: %s.", damage, content.get("epoch"), previous_of(last))
        return content
