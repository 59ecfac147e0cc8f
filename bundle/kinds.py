"""Values of another kind than a configuration wants: a command line reads `--dataset_dir 2024_01` as 202401."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import EXPR_KEY, ID_REF_KEY, ID_SEP_KEY, MACRO_KEY

# keys that want a path, by how they are called, and those of them that may be null whatever an earlier file states
_PLACE = re.compile(r"(?:^|_)(?:dir|path|root|folder|checkpoint|file)$|_weights$|^(?:datalist|pretrained)$")
_OPTIONAL = re.compile(r"checkpoint$|^(?:image_dir|pretrained|tokenizer_folder)$")


def wrong_values(config: Mapping[str, Any], files: Sequence[str | Path], given: Mapping[str, Any]) -> list[str]:
    """What is of another kind than what an earlier file states at the same key.

    An expression, a reference and a component may stand for anything, and so may what replaces them or null. But keys
    that are called like places (`dataset_dir`, `init_checkpoint`) want a path in any case. A text may be replaced by a
    list or by settings, as one section by several. None as an override never arrives: MONAI drops it.

    Args:
        config: merged, overrides included.
        files: that it was read from, in their order.
        given: the overrides by id.

    Returns:
        A line each: key, what was found, what is wanted, how to write it.
    """
    stated: Mapping[str, Any] = {}
    wrong: dict[str, str] = {}
    for number in range(len(files)):
        merged = ConfigParser.load_config_files([str(file) for file in files[: number + 1]])
        wrong |= _compare(merged, stated, "")
        stated = merged
    wrong |= _compare(config, stated, "")
    for path in (ReferenceResolver.normalize_id(key) for key, value in given.items() if value is None):
        named = ", ./None for a folder or file of this name," if _PLACE.search(_name(path)) else ""
        remedy = f"a value. Write --{path} '$None' for null,{named.removeprefix(',')} or leave --{path} out"
        wrong[path] = _line(path, "None, which MONAI drops: the configuration's value would stay", remedy)
    return list(wrong.values())


def _compare(found: Mapping[str, Any], stated: Mapping[str, Any], parent: str) -> dict[str, str]:
    wrong = {}
    for key, value in found.items():
        if key not in stated or str(key).startswith("_"):
            continue
        path = f"{parent}{ID_SEP_KEY}{key}" if parent else str(key)
        if line := _complaint(path, value, stated[key]):
            wrong[path] = line
        elif isinstance(value, Mapping) and isinstance(stated[key], Mapping):
            wrong |= _compare(value, stated[key], path)
    return wrong


def _complaint(path: str, found: Any, stated: Any) -> str | None:
    if _stands_for_anything(found):
        return None
    if _PLACE.search(_name(path)) and (stated is None or isinstance(stated, str)):
        return _place_complaint(path, found, stated)
    if found is None or stated is None or _stands_for_anything(stated):
        return None
    example = f"such as --{path} {stated}"
    if isinstance(stated, bool):
        # the configurations read their own switches from words too
        fine = isinstance(found, bool) or (ID_SEP_KEY not in path and str(found).lower() in ("true", "false"))
        return None if fine else _line(path, repr(found), f"True or False, {example}")
    if isinstance(stated, int | float):
        kind = int if isinstance(stated, int) else int | float
        fine = isinstance(found, kind) and not isinstance(found, bool)
        return None if fine else _line(path, repr(found), f"a {'whole ' * (kind is int)}number, {example}")
    text = _typed(path) or found
    if isinstance(stated, str):
        fine = isinstance(found, str | list | tuple | Mapping)
        return None if fine else _line(path, _read_as(path, found), f"a text. Write --{path} \"'{text}'\"")
    if isinstance(stated, list):
        fine = isinstance(found, list | tuple)
        return None if fine else _line(path, repr(found), f"a list. Write --{path} \"['{text}']\"")
    example = f"--{path}#{next(iter(stated), 'name')} VALUE"
    return None if isinstance(found, Mapping) else _line(path, repr(found), f"settings by name. Write {example}")


def _place_complaint(path: str, found: Any, stated: Any) -> str | None:
    if isinstance(found, str | os.PathLike) and str(found):
        text = str(found)
        if text.startswith("~"):
            hint = f"Write --{path} and the path behind a blank, not '=', or the whole path"
            return _line(path, f"'{text}', which only a shell reads as your home folder", f"a path. {hint}")
        if text.lower() in ("null", "none") and not Path(text).exists():
            hint = f"Write --{path} '$None' for null, or ./{text} for a folder or file of this name"
            return _line(path, f"the text '{text}'", f"a path. {hint}")
        return None
    if found is None and (stated is None or _OPTIONAL.search(_name(path))):
        return None
    typed = _typed(path)
    return _line(path, _read_as(path, found), f"a path. Write --{path} {f'./{typed}' if typed else 'PATH'}")


def _stands_for_anything(value: Any) -> bool:
    """Whether what it is worth is seen only when it is resolved."""
    if isinstance(value, str):
        return value.startswith((EXPR_KEY, ID_REF_KEY, MACRO_KEY))
    return isinstance(value, Mapping) and "_target_" in value


def _name(path: str) -> str:
    return path.rpartition(ID_SEP_KEY)[2]


def _line(path: str, found: str, wanted: str) -> str:
    return f"Wrong value of '{path}': found {found}; wanted {wanted}."


def _read_as(path: str, found: Any) -> str:
    typed = _typed(path)
    return repr(found) if not typed or typed == repr(found) else f"{found!r}, as a command line reads {typed}"


def _typed(path: str) -> str | None:
    """The word that the command line has for a key, before it was read; None where it has none."""
    for place, word in enumerate(sys.argv):
        name, is_whole, value = word.partition("=")
        if name.startswith("--") and ReferenceResolver.normalize_id(name[2:]) == path:
            following = sys.argv[place + 1 : place + 2]
            return value if is_whole else next((word for word in following if not word.startswith("--")), None)
    return None
