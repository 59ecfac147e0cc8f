"""Accuracy of answers by type of question, and the paired difference to a network that does not look."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.bootstrap import draw_counts
from bundle.metrics.intervals import Difference
from bundle.metrics.means import mean_replicates
from bundle.metrics.records import Floats, Integers
from bundle.metrics.table import INTERVALS, Counts, FigureTable, Metrics, Notes, share_of
from bundle.metrics.vqa import Answers
from bundle.question_types import TYPES

_NONE = "no question of this type"
_TRUTH = ("image", "group", "question", "type", "truth")


def summarise_answers(
    answers: Answers, replicates: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[Metrics, Notes]:
    """How many questions are answered right.

    Keys, with <t> a type of question that the section has:

    - `vqa/accuracy`: of all questions, each counting the same; `vqa/accuracy/<t>`: of a type; `vqa/accuracy/mean`: mean
      of the types. Each with `/low` and `/high`, drawing patients;
    - `vqa/n_questions`, `vqa/n_right`, and `vqa/n_outside`, those whose truth lies outside the vocabulary and which are
      therefore wrong; each also by `/<t>`.

    Args:
        answers: of the section.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.

    Returns:
        The metrics and the notes.
    """
    table, counts, unit = _begin(answers, replicates, seed, level)
    for ending, mine in _parts(answers):
        right = np.where(mine, answers.right, np.nan)
        draws = _draws(counts, right, unit)
        table.put(f"vqa/accuracy{ending}", _mean(right), "no question", draws, share_of(unit[mine]))
        for name, counted in (("questions", mine), ("right", answers.right), ("outside", answers.truth < 0)):
            table.put(f"vqa/n_{name}{ending}", int((mine & counted).sum()))
    table.mean("vqa/accuracy/{}")
    return table.finish()


def compare_answers(
    ours: Answers,
    others: Mapping[str, Answers],
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Metrics, Notes]:
    """Answers to the same questions by several networks, such as one that does not look, each against ours.

    Keys, with <t> a type of question that the section has, or `all` (every question), or `mean` (of the types):
    `vqa/<t>/ours`, `vqa/<t>/<name>` and `vqa/<t>/<name>/difference`, ours minus that network, all in the same draws,
    each with `/low` and `/high`; `vqa/<t>/n_questions`.

    Args:
        ours: of the network.
        others: name -> answers.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: networks that were not asked the same questions; the message says which and where.
    """
    for name, theirs in others.items():
        _check_same(name, ours, theirs)
    table, counts, unit = _begin(ours, replicates, seed, level)
    for ending, mine in _parts(ours):
        key = f"vqa{ending or '/all'}"
        table.put(f"{key}/n_questions", int(mine.sum()))
        columns = {f"{key}/ours": np.where(mine, ours.right, np.nan)}
        for name, theirs in others.items():
            columns[f"{key}/{name}"] = np.where(mine, theirs.right, np.nan)
            columns[f"{key}/{name}/difference"] = np.where(mine, ours.right - 1.0 * theirs.right, np.nan)
        for name, values in columns.items():
            share = share_of(unit[mine])
            kind = Difference.of(share) if name.endswith("/difference") else share
            table.put(name, _mean(values), _NONE, _draws(counts, values, unit), kind)
    for name in ("ours", *(f"{name}{ending}" for name in others for ending in ("", "/difference"))):
        table.mean(f"vqa/{{}}/{name}")
    return table.finish()


def _begin(answers: Answers, replicates: int, seed: int, level: float) -> tuple[FigureTable, Counts | None, Integers]:
    """A table, the draws of patients, and the unit of each question."""
    table = FigureTable(tuple(TYPES[number] for number in np.unique(answers.type)), level)
    units, unit = np.unique(answers.group, return_inverse=True)
    if not replicates or not len(units):
        return table, None, unit
    table.notes["bootstrap"] = (
        f"{replicates} replicates, seed {seed}, {100 * level:g}% {INTERVALS}, "
        f"drawing from {len(units)} patients with questions"
    )
    return table, draw_counts(len(units), replicates, seed), unit


def _parts(answers: Answers) -> list[tuple[str, NDArray[np.bool_]]]:
    """Ending of a key and which questions it is about: all, and each type that there is."""
    types = [(f"/{TYPES[number]}", answers.type == number) for number in np.unique(answers.type)]
    return [("", np.ones(len(answers.type), bool)), *types]


def _draws(counts: Counts | None, values: Floats, unit: Integers) -> Floats | None:
    return None if counts is None else mean_replicates(counts, values[:, None], unit)[0]


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _check_same(name: str, ours: Answers, theirs: Answers) -> None:
    if len(theirs.image) != len(ours.image):
        raise ValueError(f"{name!r} answered {len(theirs.image)} questions, but {len(ours.image)} are to be compared")
    for what in _TRUTH:
        differs = getattr(theirs, what) != getattr(ours, what)
        if differs.any():
            place = int(differs.argmax())
            raise ValueError(
                f"{name!r} was not asked the same: {what} of question {ours.question[place]} of image "
                f"{ours.image[place]} is {getattr(theirs, what)[place]} there and {getattr(ours, what)[place]} here"
            )
