"""What a source of any size is put down in: items that wait on disk, and texts of which 8 bytes each are remembered."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

__all__ = ["Digests", "Numbers", "Spool", "Taken", "digest"]

Item = TypeVar("Item")
Numbers = npt.NDArray[np.int64]


class _Items(Sequence[Item]):
    """A sequence that is read item by item, and of which a slice holds numbers alone."""

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Taken[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Taken[Item]:
        numbers = range(len(self))[place]  # of negative ones too
        return self._item(numbers) if isinstance(numbers, int) else Taken(self, np.array(numbers, np.int64))

    def _item(self, number: int) -> Item:
        raise NotImplementedError


class Spool(_Items[Item]):
    """Items in a file without a name, each read when it is asked for: 8 bytes of memory an item.

    The file lies where `tempfile` puts it (TMPDIR), is open to this process alone, and goes with the spool, or with the
    process, whatever ends that.

    Args:
        items: the first ones.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed when nobody has the spool any more
        weakref.finalize(self, self._file.close)
        self._starts = array("q", [0])
        self._written = 0  # up to where the buffer is emptied
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """One more."""
        self._starts.append(self._starts[-1] + self._file.write(pickle.dumps(item, pickle.HIGHEST_PROTOCOL)))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def _item(self, number: int) -> Item:
        start, end = self._starts[number], self._starts[number + 1]
        if end > self._written:
            self._file.flush()
            self._written = self._starts[-1]
        item: Item = pickle.loads(os.pread(self._file.fileno(), end - start, start))
        return item


class Taken(_Items[Item]):
    """Some items of another sequence, in an order of their own.

    Args:
        items: the sequence.
        numbers: (N,) their places in it.
    """

    def __init__(self, items: Sequence[Item], numbers: Numbers) -> None:
        self._items, self._numbers = items, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def _item(self, number: int) -> Item:
        return self._items[int(self._numbers[number])]


class Digests:
    """Texts, each known by 64 bits of a hash: of a million, two are taken for one with a probability of 3e-8.

    Args:
        texts: the first ones.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.all = array("q", map(digest, texts))
        self._sorted = self._order = np.empty(0, np.int64)

    def add(self, text: str) -> None:
        """One more."""
        self.all.append(digest(text))

    def __len__(self) -> int:
        return len(self.all)

    def places(self, text: str) -> list[int]:
        """Where it stands: its numbers, the first is 0, in ascending order."""
        if len(self._order) != len(self):
            self._order = np.argsort(self._values(), kind="stable")
            self._sorted = self._values()[self._order]
        wanted = np.int64(digest(text))
        first, last = (np.searchsorted(self._sorted, wanted, side) for side in ("left", "right"))
        return [int(number) for number in self._order[first:last]]

    def firsts(self) -> Numbers:
        """(N,) of each text, where the same text stands first."""
        _, first, inverse = np.unique(self._values(), return_index=True, return_inverse=True)
        return first[inverse]

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Texts that stood before: number, and that of the first."""
        firsts = self.firsts()
        for number in np.flatnonzero(firsts != np.arange(len(firsts))).tolist():
            yield number, int(firsts[number])

    def distinct(self) -> int:
        """How many different ones there are."""
        return len(np.unique(self._values()))

    def _values(self) -> Numbers:
        return np.array(self.all, np.int64)


def digest(text: str) -> int:
    """64 bits of the BLAKE2b of a text's UTF-8, as a signed number."""
    hashed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "big", signed=True)
