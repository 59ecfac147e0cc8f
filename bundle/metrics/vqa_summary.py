"""Accuracy of answers by type of question, and the paired difference to a network that does not look."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.intervals import Difference
from bundle.metrics.table import FigureTable, Metrics, Notes, note_bootstrap, share_of
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
    table, draws = _begin(answers, replicates, seed, level)
    for ending, mine in _parts(answers):
        right = np.where(mine, answers.right, np.nan)
        table.put(f"vqa/accuracy{ending}", draws.mean(right), "no question", share_of(draws.unit[mine]))
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
    table, draws = _begin(ours, replicates, seed, level)
    for ending, mine in _parts(ours):
        key = f"vqa{ending or '/all'}"
        table.put(f"{key}/n_questions", int(mine.sum()))
        columns = {f"{key}/ours": np.where(mine, ours.right, np.nan)}
        for name, theirs in others.items():
            columns[f"{key}/{name}"] = np.where(mine, theirs.right, np.nan)
            columns[f"{key}/{name}/difference"] = np.where(mine, ours.right - 1.0 * theirs.right, np.nan)
        for name, values in columns.items():
            share = share_of(draws.unit[mine])
            kind = Difference.of(share) if name.endswith("/difference") else share
            table.put(name, draws.mean(values), _NONE, kind)
    for name in ("ours", *(f"{name}{ending}" for name in others for ending in ("", "/difference"))):
        table.mean(f"vqa/{{}}/{name}")
    return table.finish()


def _begin(answers: Answers, replicates: int, seed: int, level: float) -> tuple[FigureTable, Draws]:
    """A table, and the draws of patients, of the questions."""
    table = FigureTable(tuple(TYPES[number] for number in np.unique(answers.type)), level)
    draws = Draws.of(answers.group, replicates, seed)
    if draws.counts.shape[1] > 1:
        note_bootstrap(table, draws, seed, "patients with questions")
    return table, draws


def _parts(answers: Answers) -> list[tuple[str, NDArray[np.bool_]]]:
    """Ending of a key and which questions it is about: all, and each type that there is."""
    types = [(f"/{TYPES[number]}", answers.type == number) for number in np.unique(answers.type)]
    return [("", np.ones(len(answers.type), bool)), *types]


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
