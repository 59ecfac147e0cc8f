"""What the images' headers said, kept until a datalist is written: who mends a table, or was interrupted, goes on."""

from __future__ import annotations

import hashlib
import json
import logging
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import bundle.reading
from bundle.atomic import atomic_path
from bundle.data.sources.spool import Digests, Spool
from bundle.reading.hdf5_file import file_of
from bundle.reading.radiograph import Layout, RadiographError, check_radiograph

__all__ = ["SeenHeaders"]

_LOG = logging.getLogger(__name__)
_BUFFER = 2**16  # bytes, some hundred images, which a kill loses


class SeenHeaders:
    """`check_radiograph` of images below a folder, remembered in a file beside the datalist that is being made.

    An image with another size or time of change is looked at again, and so is every one that was refused. What another
    version of the reader has seen does not count.

    Args:
        output: the datalist.
        folder: of the images.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self.path, self.folder = output.with_suffix(".headers.jsonl"), folder
        self._by = {"folder": str(folder.absolute()), "reader": _reader()}
        self._lines = self._read()
        self._places = Digests(line["image"] for line in self._lines)
        if self._lines:
            _LOG.info(f"{self.path}: {self._places.distinct():,} images were looked at before.")
        with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line) + "\n" for line in chain([self._by], self._lines))
        self._file = self.path.open("a", encoding="utf-8", buffering=_BUFFER)

    def layout(self, image: str) -> Layout | RadiographError:
        """How an image lies, or why it cannot be read."""
        path = self.folder / image
        try:
            stamp = file_of(path).stat()
            stamped = [stamp.st_size, stamp.st_mtime_ns]
        except OSError:  # the reader has the words for it
            stamped = []
        lines = (self._lines[place] for place in reversed(self._places.places(image)))  # the newest counts
        known = next((line for line in lines if line["image"] == image), {})
        if stamped and known.get("stamp") == stamped:
            return Layout((known["size"][0], known["size"][1]), known["orientation"], known["not_assessed"])
        try:
            layout = check_radiograph(path)
        except RadiographError as error:
            return error
        line = {"image": image, "stamp": stamped, "size": layout.size, "orientation": layout.orientation}
        self._file.write(json.dumps({**line, "not_assessed": layout.not_assessed}) + "\n")
        return layout

    def forget(self) -> None:
        """The datalist is written: what was remembered is not needed any more."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> SeenHeaders:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _read(self) -> Spool[dict[str, Any]]:
        """The lines; of a file that ends within one, up to there."""
        lines = Spool[dict[str, Any]]()
        if not self.path.is_file():
            return lines
        with self.path.open(encoding="utf-8") as file:
            try:
                if json.loads(file.readline()) != self._by:
                    return lines
                for line in file:
                    each = json.loads(line)
                    lines.append({**each, "image": str(each["image"])})
            except (ValueError, KeyError, TypeError):  # it was interrupted while it wrote a line
                _LOG.info(f"{self.path}: ends within a line, which does not count.")
        return lines


def _reader() -> str:
    """A fingerprint of the reader's own files."""
    files = sorted(Path(bundle.reading.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
