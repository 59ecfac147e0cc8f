"""Where the images of a source lie: a folder is walked once, and each name of a table finds its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bundle.data.sources.spool import Digests, Spool
from bundle.reading.hdf5_file import SUFFIXES as IN_PLACE

__all__ = ["ImageIndex"]

SUFFIXES = (".nii.gz", ".dicom", ".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".mha", ".mhd")
"""Of image files. `1.2.840.113` is a name without a suffix."""


class ImageIndex:
    """The files of a folder and its sub-folders, found by the end of their path."""

    def __init__(self, folder: Path) -> None:
        """Walks the folder; links to folders are not followed, hidden files and folders passed over.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: found no such folder; wanted that of the images")
        self.folder = folder
        self._files = Spool[str]()
        for place, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(place).relative_to(folder)
            for name in sorted(files):
                if not name.startswith("."):
                    self._files.append((below / name).as_posix())
        self._by_end: dict[int, Digests] = {}

    def __len__(self) -> int:
        """How many files there are."""
        return len(self._files)

    def find(self, name: str) -> Sequence[str]:
        """The files that a name may mean.

        Args:
            name: of a file, or a path of which the folder is any part's parent: `train/a/1.png` is found as
                `data/train/a/1.png` below the folder, and as `a/1.png` where the folder is `train` itself. A suffix
                that the file does not have is no obstacle (PNG copies of DICOM files), but the same suffix comes first.
                `a.h5/cxr/17` is an image inside a file that is found so.

        Returns:
            Paths below the folder with forward slashes: one where it is found, more where it is in several places,
            none where it is not there.
        """
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".", "..")]
        if not parts:
            return ()
        for number, part in enumerate(parts[:-1], start=1):
            if part.lower().endswith(IN_PLACE):  # the rest leads to an image inside
                return [f"{file}/{'/'.join(parts[number:])}" for file in self.find("/".join(parts[:number]))]
        plain = without_suffix("/".join(parts))
        found = self._that_end(plain, len(parts))
        if not found:
            ends = ("/".join(plain.split("/")[start:]) for start in range(1, len(parts)))
            found = next(filter(None, (self._that_end(end, 0) for end in ends)), [])
        exact = [file for file in found if file.endswith(parts[-1])]
        return exact or found

    def _that_end(self, wanted: str, length: int) -> list[str]:
        """The files of whose paths, without suffix, these are the last `length` parts; of length 0, the whole."""
        if length not in self._by_end:
            self._by_end[length] = Digests(_end(file, length) for file in self._files)
        found = (self._files[number] for number in self._by_end[length].places(wanted))
        return [file for file in found if _end(file, length) == wanted]


def _end(file: str, length: int) -> str:
    """The last parts of a path without suffix; all of them where the length is 0."""
    return "/".join(without_suffix(file).split("/")[-length:])


def without_suffix(name: str) -> str:
    """A path without the suffix of an image."""
    lower = name.lower()
    return next((name[: -len(suffix)] for suffix in SUFFIXES if lower.endswith(suffix)), name)
