"""A file of weights from elsewhere: tensors by name, and nothing that it may hold besides runs."""

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bundle.checkpoints import read_weights

logger = logging.getLogger(__name__)

HOLDERS = ("state_dict", "model_state_dict", "model")  # where a training keeps the weights among other things
WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before each name
_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a file, by name, as the file has them, on the CPU.

    Read are safetensors, and what `torch.save` wrote of tensors alone. Of a training's checkpoint the weights are taken
    (`HOLDERS`), and a wrapper's beginning of all names (`WRAPPERS`) is taken off; both are logged.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a TorchScript archive, which is a program; a file that is damaged or holds more than tensors; no
            weights in it; or values that are not finite, or of more precision than float32.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file of weights at {path}.")
    if path.suffix == ".safetensors":
        state: Mapping[str, Any] = _safetensors(path)
    else:
        _refuse_programs(path)
        state = _held(read_weights(path), path)
    for wrapper in WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            logger.info("%s: '%s' is taken off the beginning of all names.", path.name, wrapper)
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
    _refuse_other_values(state, path)
    return dict(state)


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or damaged ({error}); copy it again.") from error


def _refuse_programs(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        is_program = any(Path(name).name == "constants.pkl" for name in archive.namelist())
    if is_program:
        raise ValueError(
            f"{path} is a TorchScript archive: a program with its weights, which cannot be read without loading the "
            "program. OpenAI's models are also there as weights alone: `hf download openai/clip-vit-base-patch32 "
            "--local-dir FOLDER` (or -patch16, or openai/clip-vit-large-patch14), ready for `pretrained`. If you trust "
            f"the file: `python -c \"import torch; torch.save(torch.jit.load('{path}', map_location='cpu')"
            ".state_dict(), 'weights.pt')\"`, and convert weights.pt."
        )


def _held(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The weights themselves, of a checkpoint that holds them among other things."""
    if holders := [name for name in HOLDERS if isinstance(content.get(name), Mapping)]:
        logger.info("%s: of %s, '%s' is read.", path.name, sorted(content), holders[0])
        held: Mapping[str, Any] = content[holders[0]]
        return held
    return content


def _refuse_other_values(state: Mapping[str, Any], path: Path) -> None:
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors or len(tensors) < len(state):
        others = sorted(str(name) for name in set(state) - set(tensors))
        raise ValueError(
            f"{path} holds no weights by name: {listed(others) or 'nothing'} {'is' if len(others) < 2 else 'are'} no "
            f"tensor. Wanted: a state dict, or a checkpoint with one under {', '.join(HOLDERS)}."
        )
    floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
    if broken := [name for name, value in floating.items() if not value.isfinite().all()]:
        raise ValueError(f"{path} has values that are not numbers, in {listed(broken)}. Give other weights.")
    if wide := [f"{name} ({value.dtype})" for name, value in floating.items() if value.dtype not in _PRECISIONS]:
        raise ValueError(f"{path} has values that float32 cannot hold without loss: {listed(wide)}.")


def listed(names: list[str]) -> str:
    """Names for a message, at most twenty of them."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
