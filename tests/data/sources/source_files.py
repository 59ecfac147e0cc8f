"""Small files for the sources' tests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data.sources.faults import SourceError


def write_pictures(folder: Path, names: Iterable[str], size: tuple[int, int] = (64, 48)) -> Path:
    """A grey PNG of (W, H) under every name; returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size[::-1], 100, np.uint8)).save(path, format="PNG")
    return folder


def write_csv(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """A table; returns its path."""
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def faults_when(read, *arguments, **options) -> Sequence[str]:
    """The faults that it raises, a line each."""
    with pytest.raises(SourceError) as caught:
        read(*arguments, **options)
    assert str(len(caught.value.faults)) in str(caught.value)
    return [str(fault) for fault in caught.value.faults]
