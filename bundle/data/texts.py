"""The distinct texts of a datalist by number, and its items with these numbers, so that a batch holds tensors alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.data.captions import Description, region_caption
from bundle.data.datalist import SECTIONS, DatalistError, datalist_section, section_entries
from bundle.data.datalist_fault import PRINTED_FAULTS
from bundle.data.hard_negatives import KINDS, CaptionPool, hard_negatives
from bundle.data.questions import Question, answer_index, answer_vocabulary, section_questions
from bundle.data.regions import entry_regions
from bundle.question_types import TYPES

NO_TEXT = -1


class TextList(Sequence[str]):
    """Distinct texts in the order in which they came, each with its number; equal texts have equal numbers.

    Blank space does not count, but each text keeps its lines, by which parts of a report are told apart.

    Args:
        texts: the first ones.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self._number: dict[str, int] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str | None) -> int:
        """The number of a text, which is taken in if it is new; `NO_TEXT` for none or blank space."""
        words = " ".join((text or "").split())
        if not words:
            return NO_TEXT
        if words not in self._number:
            self._number[words] = len(self._texts)
            self._texts.append((text or "").strip())
        return self._number[words]

    def __len__(self) -> int:
        """How many."""
        return len(self._texts)

    def __getitem__(self, number: Any) -> Any:
        """The text of a number, or those of a slice; a negative number is `NO_TEXT` or a mistake, and has none.

        Raises:
            IndexError: there is no such text.
        """
        if isinstance(number, slice) or number >= 0:
            return self._texts[number]
        raise IndexError(f"Found the text number {number}; wanted 0 to {len(self) - 1}.")


@dataclass(frozen=True)
class TextData:
    """Sections of a datalist with their texts.

    Attributes:
        texts: of all sections.
        answers: the classes of answers: those that the first section's questions have.
        items: section -> the items of a Dataset.
        regions: section -> for each item its regions, in the order of its `boxes`.
        questions: section -> for each item its questions, in the order of its `question_id`.
    """

    texts: TextList
    answers: list[str]
    items: dict[str, list[dict[str, Any]]]
    regions: dict[str, list[list[Description]]]
    questions: dict[str, list[list[Question]]]

    def __getitem__(self, section: str) -> list[dict[str, Any]]:
        """The items of a section."""
        return self.items[section]


def text_data(
    path: str | os.PathLike[str],
    sections: Sequence[str] | Mapping[str, str | Sequence[str]] = SECTIONS,
    findings: Sequence[str] | None = None,
    negatives: int = 6,
    own_captions: bool = False,
    seed: int = 0,
    **loading: Any,
) -> TextData:
    """Sections of a datalist as items that carry numbers of texts.

    Args:
        path: the JSON file.
        sections: their names, the training section first; or name -> section, or sections in a row such as folds.
        findings: the K findings, as for `datalist_section`; captions, negatives and questions are about these alone.
        negatives: M, the hard negatives of a region.
        own_captions: take the box's own `caption` where it has one. Its wording then differs from that of the hard
            negatives, so that a network can tell them apart by style; without it all are worded alike.
        seed: of the choice of negatives and questions. What negatives are filled up with comes from the first section.
        loading: `keep`, `require_reports`, `check_images`, `base_dir`, `reading` and `bad_images` of
            `datalist_section`.

    Returns:
        The items are those of `datalist_section`, with `summary` (text, empty where there is none) and

        - `report_id`, `summary_id`: int;
        - `caption_id`: int64 (N,), the caption of each of `boxes`;
        - `negative_id`, `negative_kind`: int64 (N, M), its hard negatives, and what is wrong, an index of
          `hard_negatives.KINDS`;
        - `question_id`, `question_type`, `answer`: int64 (Q,), the text of the question, an index of
          `question_types.TYPES`, and one of `answers`. An answer that the first section never gives is -1: it counts,
          as wrong.

        -1 stands for no text, and pads `negative_id` and `negative_kind`.

    Raises:
        DatalistError: for a file with faults, or with a word of a region that is not in the vocabulary.
    """
    asked = sections if isinstance(sections, Mapping) else {name: name for name in sections}
    texts = TextList()
    items: dict[str, list[dict[str, Any]]] = {}
    regions: dict[str, list[list[Description]]] = {}
    questions: dict[str, list[list[Question]]] = {}
    answers: list[str] = []
    pool = CaptionPool()
    checks = {key: value for key, value in loading.items() if key != "keep"}
    for name, section in asked.items():
        names, entries = section_entries(path, section, findings, **checks)
        taken = datalist_section(path, section, findings, **loading)
        entries = [entries[item["index"]] for item in taken]
        all_regions = _regions(path, name, entries)
        questions[name] = section_questions(entries, names, seed)
        if not items:
            answers = answer_vocabulary(questions[name]) if any(questions[name]) else []
            pool = CaptionPool(region for each in all_regions for region in each)
        items[name], regions[name] = [], []
        for item, entry, each, queries in zip(taken, entries, all_regions, questions[name], strict=True):
            kept = [number for number, region in enumerate(each) if region.finding in names]
            settled = [finding for finding, known in zip(names, item["boxed"], strict=True) if known]
            captions = [_caption(entry["boxes"][number], each[number], own_captions) for number in kept]
            false = [hard_negatives(each, number, pool, settled, negatives, seed, item["index"]) for number in kept]
            summary = entry.get("summary") or ""
            items[name].append(
                {
                    **item,
                    "summary": summary,
                    "report_id": texts.add(item["report"]),
                    "summary_id": texts.add(summary),
                    "caption_id": _integers([texts.add(caption) for caption in captions]),
                    "negative_id": _padded([[texts.add(one.caption) for one in row] for row in false], negatives),
                    "negative_kind": _padded([[KINDS.index(one.kind) for one in row] for row in false], negatives),
                    "question_id": _integers([texts.add(one.text) for one in queries]),
                    "question_type": _integers([TYPES.index(one.type) for one in queries]),
                    "answer": _integers([answer_index(one.answer, answers, outside=True) for one in queries]),
                }
            )
            regions[name].append([each[number] for number in kept])
    return TextData(texts, answers, items, regions, questions)


def _regions(
    path: str | os.PathLike[str], section: str, entries: Sequence[Mapping[str, Any]]
) -> list[list[Description]]:
    """The regions of each entry, of every finding; all faults at once."""
    regions, faults = [], []
    for number, entry in enumerate(entries):
        try:
            regions.append(entry_regions(entry))
        except ValueError as error:
            faults.append(f"  {section}[{number}] ({entry['image']}), {error}")
    if faults:
        more = [f"  and {len(faults) - PRINTED_FAULTS} more"] if len(faults) > PRINTED_FAULTS else []
        head = f"{path}: {len(faults)} entr{'ies' if len(faults) > 1 else 'y'} with unknown words of a region"
        raise DatalistError("\n".join([head, *faults[:PRINTED_FAULTS], *more]))
    return regions


def _caption(box: Mapping[str, Any], region: Description, own: bool) -> str:
    """The region's caption, or the box's own words."""
    return (box.get("caption") or "").strip() if own and (box.get("caption") or "").strip() else region_caption(region)


def _integers(numbers: Sequence[int]) -> NDArray[np.int64]:
    return np.asarray(numbers, dtype=np.int64)


def _padded(rows: Sequence[Sequence[int]], width: int) -> NDArray[np.int64]:
    """Rows of one width, (N, width), filled with -1."""
    result = np.full((len(rows), width), -1, dtype=np.int64)
    for row, numbers in zip(result, rows, strict=True):
        row[: len(numbers)] = numbers
    return result
