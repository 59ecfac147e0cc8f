"""What to call what is written about each file of a run: unique, safe, and short where it can be."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Suffixes of the formats that are read. Of a name without one of these, the dots belong to it: a DICOM UID has many.
SUFFIXES = (
    *(".nii.gz", ".nii", ".mha", ".mhd"),
    *(".dcm", ".dicom", ".ima"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff"),
)
# Endings of DICOM results, by kind: structured report, grayscale softcopy presentation state, secondary capture.
DICOM_ENDINGS = {"sr": "_sr.dcm", "gsps": "_gsps.dcm", "sc": "_sc.dcm"}
_UNSAFE = re.compile(r"[^\w.\-+=@#() ]")


def output_names(files: Sequence[str | os.PathLike[str]], anonymous: bool = False) -> dict[str, str]:
    """A name for what is written about each file: relative, unique, and safe on any file system.

    The file's path below the folder that all have in common, without its suffix. Where that is not unique (scan.dcm
    beside scan.png) the suffix stays; where that is not either (upper and lower case are alike on some systems), "~2",
    "~3" and so on follow. Characters beyond letters, digits and `. - + = @ # ( ) _` and space become "_".

    The names are the users' own and may identify a patient; `anonymous` gives running numbers instead.

    Args:
        files: all files of a run, in order.
        anonymous: number the files instead: "000001", "000002", ... in their order.

    Returns:
        From absolute path to name, which may hold "/" for subfolders.
    """
    paths = list(dict.fromkeys(Path(file).absolute() for file in files))
    if anonymous:
        return {str(path): f"{number:06d}" for number, path in enumerate(paths, start=1)}
    root = os.path.commonpath([path.parent for path in paths]) if paths else "."
    parts = [path.relative_to(root).parts for path in paths]
    full = ["/".join(_safe(part) for part in names) for names in parts]
    short = ["/".join(_safe(part) for part in (*names[:-1], _stem(names[-1]))) for names in parts]
    shared = Counter(name.casefold() for name in short)
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for path, brief, whole in zip(paths, short, full, strict=True):
        name = base = brief if shared[brief.casefold()] == 1 else whole
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}~{number}"
        taken.add(name.casefold())
        chosen[str(path)] = name
    return chosen


class OutputNames:
    """The name of what is written about one file after the other, for transforms that see a file at a time.

    Args:
        inputs: every file of the run, as paths or as mappings with `image_key`. None names each output by its file
            alone and refuses to give another file's name.
        image_key: of the mappings.
        anonymous: as in `output_names`; wants `inputs`.
        owner: who asks, for messages.

    Raises:
        ValueError: `anonymous` without `inputs`.
    """

    def __init__(
        self, inputs: Sequence[Any] | None = None, image_key: str = "image", anonymous: bool = False, owner: str = ""
    ) -> None:
        if anonymous and inputs is None:
            raise ValueError(f"{owner}: anonymous_names numbers the files of `inputs`; give the list of all files")
        files = None if inputs is None else [item[image_key] if isinstance(item, Mapping) else item for item in inputs]
        self._names = None if files is None else output_names(files, anonymous)
        self._given: dict[str, str] = {}
        self._owner = owner

    def __call__(self, file: str | os.PathLike[str]) -> str:
        """The file's name.

        Raises:
            ValueError: the file is not among `inputs`, or, without them, another file has had this name.
        """
        absolute = str(Path(file).absolute())
        if self._names is not None:
            if absolute not in self._names:
                raise ValueError(f"{self._owner}: {file} is not among `inputs`; give the list that is being read")
            return self._names[absolute]
        name = output_names([file])[absolute]
        if self._given.setdefault(name.casefold(), absolute) != absolute:
            raise ValueError(
                f"{self._owner}: {file} and {self._given[name.casefold()]} would both be written as {name!r}; give "
                "the list of all files as `inputs`, which makes the names differ"
            )
        return name


def _stem(name: str) -> str:
    """The name without a known suffix."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _safe(part: str) -> str:
    return _UNSAFE.sub("_", part).strip(". ") or "_"
