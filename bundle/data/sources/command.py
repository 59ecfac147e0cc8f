"""A source as a command: its own options and those of the engine in one signature, which `--help` shows."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.record import Reading

__all__ = ["TEXTS", "source_command"]

PathLike = str | os.PathLike[str]
_ENGINE = """    images: folder of the images; its sub-folders are searched.
    output: the datalist to write.
    allow_missing: leave out images that are not there or cannot be read, and list them.
    headers: all, or boxed: look at the headers of the images with boxes alone, which is faster.
    laterals: keep what is no frontal chest radiograph by the table's view or the image's header.
    findings: to keep, in this order; as the table calls them, or as renamed.
    rename: {"the source's name": "another"}.
    validation: share of the patients.
    test: share of the patients.
    seed: of the split by patient.
    labels_from_reports: mentioned or all: labels of reports too; what they do not mention is unknown, or absent.
"""
TEXTS = frozenset(
    {
        "images",
        "output",
        "table",
        "tables",
        "reports",
        "views",
        "h5",
        "array",
        "title",
        "x",
        "y",
        "x2",
        "y2",
        "width",
        "height",
    }
)
"""Options that are text whatever they look like: a folder may be called 2024_01. So is what ends in _column."""


def source_command(read: Callable[..., Reading]) -> Callable[..., Path]:
    """A function of the images' folder, the datalist, the source's options and the engine's.

    Args:
        read: makes a `Reading` of the source's own options.

    Returns:
        The command; it returns the datalist's path, and raises what `read` and `prepare` raise.
    """
    engine = {field.name: field for field in dataclasses.fields(Options)}

    def command(images: PathLike, output: PathLike, **options: Any) -> Path:
        texts = ("findings",) if isinstance(options.get("findings"), str) else ()
        split = {name: [part.strip() for part in options[name].split(",")] for name in texts}
        asked = Options(**{name: value for name, value in {**options, **split}.items() if name in engine})
        reading = read(**{name: value for name, value in options.items() if name not in engine})
        return prepare(reading, images, output, asked)

    keyword = inspect.Parameter.KEYWORD_ONLY
    places = [inspect.Parameter(name, keyword, annotation=str) for name in ("images", "output")]
    own = [parameter.replace(kind=keyword) for parameter in inspect.signature(read).parameters.values()]
    more = [inspect.Parameter(field.name, keyword, default=field.default) for field in engine.values()]
    command.__signature__ = inspect.Signature([*places, *own, *more], return_annotation=Path)  # type: ignore[attr-defined]
    command.__name__ = read.__name__.removeprefix("read_")
    doc = inspect.cleandoc(read.__doc__ or "")
    head, _, rest = doc.partition("Args:\n")
    command.__doc__ = f"{head}Args:\n{_ENGINE}{rest}" if rest else f"{doc}\n\nArgs:\n{_ENGINE}"
    return command
