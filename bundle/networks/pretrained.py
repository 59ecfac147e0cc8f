"""Models of transformers from local folders: in float32, whole, and of the kind that is wanted; or not at all."""

import json
import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

_PRINTED = 5
_LOADER = "transformers"


def model_type(folder: str | Path) -> str:
    """What config.json says that a folder holds, such as "clip"; empty where it does not say.

    Raises:
        FileNotFoundError: there is no such folder, or no config.json in it.
        ValueError: config.json is no JSON object.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no config.json in '{folder}'" if Path(folder).is_dir() else f"no folder '{folder}'")
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("model_type") or "")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no configuration of a model: found {error}; copy the folder again.") from error


def load_pretrained(
    loader: Any, folder: str | Path, may_lack: Sequence[str] = (), heads: bool = False, hint: str = ""
) -> Any:
    """A model with every one of its weights from a folder that `save_pretrained` wrote, as float32.

    Whatever precision the file has, the model has float32: a training in float16 loses small gradients. Nothing is
    fetched, and no code of the folder runs: safetensors, or a .bin of tensors alone.

    Args:
        loader: class of transformers with `from_pretrained`.
        folder: with config.json and model.safetensors or pytorch_model.bin.
        may_lack: beginnings of names that the file need not have, since the caller drops these parts.
        heads: whether the file may have more than the model, outside the model's own parts: the heads of its
            pretraining, such as a masked language model's `cls`.
        hint: what else may mend a file that lacks weights, for the message.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: weights are missing, unknown, of another shape or not finite, all named; or the file is damaged.
    """
    try:
        with _quiet():
            model, report = loader.from_pretrained(
                str(folder),
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except OSError as error:
        raise FileNotFoundError(f"'{folder}' has a config.json but no weights (model.safetensors): {error}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"The weights at '{folder}' hold more than tensors, or are damaged: they are not read."
        ) from error
    except (SafetensorError, EOFError, RuntimeError) as error:
        raise ValueError(f"The weights at '{folder}' cannot be read ({error}); copy them again.") from error
    missing = [name for name in report["missing_keys"] if not name.startswith(tuple(may_lack))]
    unknown = list(report["unexpected_keys"])
    if heads:
        own = {name.split(".")[0] for name in model.state_dict()}
        unknown = [name for name in unknown if name.removeprefix(f"{model.base_model_prefix}.").split(".")[0] in own]
    shapes = [f"{name} {(*file,)}, wanted {(*here,)}" for name, file, here in report["mismatched_keys"]]
    faults = {"lack": missing, "have too much": unknown, "have other shapes": shapes}
    if found := "; they ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names):
        raise ValueError(
            f"The weights at '{folder}' do not make a {type(model).__name__}: they {found}. Are they another model's, "
            'a part of one, or saved from a wrapper ("module.")? Wanted is what save_pretrained writes of the bare '
            f"model{hint}."
        )
    if broken := [name for name, value in model.state_dict().items() if not value.isfinite().all()]:
        raise ValueError(f"The weights at '{folder}' are not all numbers: NaN or infinity in {_some(broken)}.")
    return model


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_PRINTED]) + (f" (of {len(names)})" if len(names) > _PRINTED else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's table of what does not fit, which says no more than the error that follows."""
    logger = logging.getLogger(_LOADER)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
