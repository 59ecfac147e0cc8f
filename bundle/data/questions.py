"""Questions about an image and their answers, made from what its datalist's entry knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bundle.data.captions import Description, place_name, size_word
from bundle.data.datalist_entry import encode_entry, nearest, show
from bundle.data.folds import hash_order
from bundle.data.region_words import excludes, words_of
from bundle.data.regions import entry_regions
from bundle.question_types import TYPES

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Question:
    """A question and its one right answer.

    Attributes:
        type: one of `TYPES`; "own" is the datalist's, without a type of ours.
        text: the question, lower-case, with its question mark if it is ours.
        answer: lower-case, without a full stop.
    """

    type: str
    text: str
    answer: str


@dataclass(frozen=True)
class _Known:
    """What an entry knows: label (K,), 1, 0 or NaN; complete (K,), whether boxes are; regions, all and by finding."""

    label: np.ndarray
    complete: np.ndarray
    regions: list[Description]
    of: dict[str, list[Description]]


def section_questions(
    entries: Sequence[Mapping[str, Any]], findings: Sequence[str], seed: int = 0
) -> list[list[Question]]:
    """The questions of a section's entries; none that what is known does not answer, or answers twice.

    - presence: "is there a mass?" For each finding as many images where it is present as where it is absent: all of the
      rarer, and of the other those that come first in an order by (seed, image). So "yes" to everything, or the better
      answer to each finding, is right half of the time.
    - location: "where is the mass?", with the words of the captions; of one region, or of one on either side in the
      same zone ("both lower zones"). The finding's boxes must be complete, and its place known.
    - size: "how large is the mass?", of one region, with the finding's words; its boxes must be complete.
    - count: "how many nodules are there?", of findings that are counted and whose boxes are complete, balanced as
      presence is between none and some; and "how many different findings are there?", of the K, where every label is
      known, not balanced.
    - finding: "which finding is in the right lower zone?", where exactly one is centred there and no other can be: each
      finding is absent or has complete boxes. An effusion is in the lower zone of its side, and a pneumothorax may be
      in each zone of its side.
    - own: an entry's `qa` is asked beside these, under its `type` where that is one of the above. A question of the
      same words replaces ours.

    Args:
        entries: of a section of a checked datalist.
        findings: the K findings to ask about.
        seed: of the choice among images.

    Returns:
        For each entry its questions, in the order above. The texts of an image's questions are distinct.

    Raises:
        ValueError: a word of a box's attributes that is not in the vocabulary; the message names entry and box.
    """
    known = [_known(number, entry, findings) for number, entry in enumerate(entries)]
    asked: list[list[Question]] = [[] for _ in entries]
    for k, finding in enumerate(findings):
        there = [each.label[k] for each in known]
        for i in _balanced(there, f"{seed}:presence:{finding}"):
            asked[i].append(Question("presence", f"is there {_one(finding)}?", YES if there[i] == 1 else NO))
    for i, each in enumerate(known):
        for k, finding in enumerate(findings):
            if each.complete[k]:
                asked[i] += _about(finding, each.of[finding])
    for k, finding in enumerate(findings):
        if not words_of(finding).plural:
            continue
        counts = [_count(each.of[finding]) if each.complete[k] else np.nan for each in known]
        for i in _balanced([min(count, 1) for count in counts], f"{seed}:count:{finding}"):
            asked[i].append(Question("count", f"how many {words_of(finding).plural} are there?", f"{counts[i]:.0f}"))
    for i, (entry, each) in enumerate(zip(entries, known, strict=True)):
        if np.isfinite(each.label).all():
            asked[i].append(Question("count", "how many different findings are there?", f"{each.label.sum():.0f}"))
        if each.complete.all():
            asked[i] += _which(each)
        own = list(_own(entry.get("qa") or []))
        asked[i] = [*[q for q in asked[i] if q.text not in {o.text for o in own}], *own]
    return asked


def answer_vocabulary(questions: Iterable[Iterable[Question]], least: int = 1) -> list[str]:
    """The distinct answers of a section, the classes of an answering network: of the training section, and no other.

    Args:
        questions: of each entry.
        least: how often an answer must be given.

    Returns:
        The answers, the commonest first, equally common ones by name.

    Raises:
        ValueError: there is none.
    """
    counts = Counter(question.answer for each in questions for question in each)
    answers = sorted(
        (answer for answer, n in counts.items() if n >= least), key=lambda answer: (-counts[answer], answer)
    )
    if not answers:
        raise ValueError(
            f"Found no answer that is given {least} times or more; wanted labels, boxes or qa to ask about."
        )
    return answers


def answer_index(answer: str, vocabulary: Sequence[str], outside: bool = False) -> int:
    """The class of an answer.

    Args:
        answer: of a `Question`.
        vocabulary: the classes.
        outside: whether an answer may lie outside the vocabulary, as in a test: it is then -1, which no network can
            answer, so that the question counts, and counts as wrong.

    Raises:
        ValueError: an answer outside the vocabulary where none may be.
    """
    if answer in vocabulary:
        return vocabulary.index(answer)
    if outside:
        return -1
    raise ValueError(
        f"Found the answer {show(answer)}; wanted one of the {len(vocabulary)} of the vocabulary"
        f"{nearest(answer, vocabulary)}."
    )


def _known(number: int, entry: Mapping[str, Any], findings: Sequence[str]) -> _Known:
    arrays = encode_entry(dict(entry), findings)
    try:
        regions = entry_regions(entry)
    except ValueError as error:
        raise ValueError(f"entry {number} ({entry['image']}), {error}") from error
    of = {finding: [region for region in regions if region.finding == finding] for finding in findings}
    return _Known(arrays["label"], arrays["boxed"], regions, of)


def _balanced(values: Sequence[float], name: str) -> list[int]:
    """As many places of 1 as of 0, in order; NaN is neither."""
    order = sorted(range(len(values)), key=lambda i: hash_order(f"{name}:{i}"))
    ones, zeros = ([i for i in order if values[i] == value] for value in (1, 0))
    n = min(len(ones), len(zeros))
    return sorted(ones[:n] + zeros[:n])


def _about(finding: str, regions: Sequence[Description]) -> Iterator[Question]:
    """Where and how large, if one answer is right; the regions are all that there are."""
    noun, how = words_of(finding).noun, words_of(finding).how
    if place := _common_place(regions):
        yield Question("location", f"where is the {noun}?", place)
    if len(regions) == 1 and (size := size_word(finding, regions[0].size)):
        yield Question("size", f"how {how} is the {noun}?", size)


def _common_place(regions: Sequence[Description]) -> str:
    """The place of one region, or of two on either side in the same zone; empty where it is not known."""
    if not regions:
        return ""
    words = words_of(regions[0].finding)
    if not all(getattr(region, name) for region in regions for name in {"side", "zone"} & set(words.attributes)):
        return ""
    sides, zones = sorted(region.side for region in regions), {region.zone for region in regions}
    if len(regions) == 1 and (regions[0].side == "bilateral" or not regions[0].both_sides):
        return place_name(regions[0])
    if sides == ["left", "right"] and words.paired and ("zone" not in words.attributes or len(zones) == 1):
        return place_name(replace(regions[0], side="bilateral"))
    return ""


def _count(regions: Sequence[Description]) -> float:
    """How many there are; NaN where one box stands for both sides."""
    return np.nan if len(regions) == 1 and regions[0].both_sides else len(regions)


def _which(known: _Known) -> Iterator[Question]:
    """Which finding is in each zone that has exactly one."""
    placed = [
        r for r in known.regions if words_of(r.finding).place == "zone" and r.side in ("left", "right") and r.zone
    ]
    for side, zone in sorted({(region.side, region.zone) for region in placed}):
        there = {region.finding for region in placed if (region.side, region.zone) == (side, zone)}
        possible = {region.finding for region in known.regions if _may_lie(region, side, zone)}
        finding = next(iter(there))
        if possible == {finding} and finding in known.of:
            place = place_name(Description(finding, side=side, zone=zone))
            yield Question("finding", f"which finding is in the {place}?", words_of(finding).noun)


def _may_lie(region: Description, side: str, zone: str) -> bool:
    """Whether a region can be in a zone, by what is known of it; the heart is in none."""
    place = words_of(region.finding).place
    if not place or (excludes("side", side, region.side) and not region.both_sides):
        return False
    if place == "base":
        return not excludes("zone", zone, "lower") and not excludes("zone", zone, "lower lobe")
    return place == "side" or not excludes("zone", zone, region.zone)


def _own(pairs: Iterable[Mapping[str, str]]) -> Iterator[Question]:
    """The datalist's own questions, each text once."""
    seen: set[str] = set()
    for pair in pairs:
        text, answer = (" ".join(pair[key].lower().split()) for key in ("question", "answer"))
        if text not in seen:
            yield Question(pair["type"] if pair.get("type") in TYPES else "own", text, answer.rstrip(". "))
        seen.add(text)


def _one(finding: str) -> str:
    """The finding with its article, if it is counted."""
    words = words_of(finding)
    article = "" if not words.plural else "an " if words.noun[0] in "aeiou" else "a "
    return f"{article}{words.noun}"
