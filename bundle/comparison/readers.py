"""Several readers of one section: how far they agree, and the network beside each of them, judged by the others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.atomic import write_json
from bundle.data.repeated_boxes import Repeats, without_repeats
from bundle.metrics.assignment import one_to_one
from bundle.metrics.candidates import BOX
from bundle.metrics.draws import Draws
from bundle.metrics.froc import froc_curve
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.froc_metric import FROCMetric
from bundle.metrics.intervals import Difference, Share
from bundle.metrics.matching import HitCriterion, match, overlap_ratio
from bundle.metrics.records import Floats, Records, of_finding
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, no_lesions, share_of

_POINTS = "readers.json"
FIGURES = ("sensitivity", "fp_per_image", "model_sensitivity", "difference")
NOT_JUDGED = "readers"
"""Key of the note that says why there are no figures of readers where an image names some."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class ReaderPoint:
    """One reader and the network on the images that both this reader and another looked at, one finding.

    Attributes:
        reader: name.
        finding: name.
        fp_per_image, sensitivity: of the reader.
        model_fp_per_image, model_sensitivity: the network's FROC curve by the same reference.
    """

    reader: str
    finding: str
    fp_per_image: float
    sensitivity: float
    model_fp_per_image: list[float]
    model_sensitivity: list[float]


def write_points(points: Sequence[ReaderPoint], folder: Path) -> None:
    """Write `readers.json`, from which the figure can be drawn again; without points there is none."""
    (folder / _POINTS).unlink(missing_ok=True)
    if points:
        write_json(folder / _POINTS, [asdict(point) for point in points])


def read_points(folder: Path) -> list[ReaderPoint]:
    """What `write_points` left in a folder."""
    file = folder / _POINTS
    return [ReaderPoint(**point) for point in json.loads(file.read_text("utf-8"))] if file.is_file() else []


def summarise_readers(
    records: Records,
    items: Sequence[Item],
    criterion: HitCriterion,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Metrics, Notes, list[ReaderPoint]]:
    """Agreement of each pair of readers, and each reader beside the network.

    Keys, f a finding or `mean`, p a pair of readers `<a>|<b>` or `mean`, each with `/low` and `/high`:

    - `agreement/kappa/<f>/<p>`: Cohen's kappa of whether either drew a box of f in an image, over the images that both
      looked at; its mean over pairs is Light's.
    - `agreement/f1/<f>/<p>`: 2 TP / (boxes of a + boxes of b), TP the most one-to-one pairs of boxes of which one hits
      the other by the criterion, a box's centre standing for the peak.
    - `readers/<f>/<r>/sensitivity`, `.../fp_per_image`: of the reader r, judged as the network is, every box a
      candidate of one score. The reference is what *any other* reader saw: their boxes, those of one lesion merged
      (`bundle.data.repeated_boxes`), on the images that r and at least one other looked at.
    - `readers/<f>/<r>/model_sensitivity`: of the network by the same reference on the same images, at the reader's
      false positives per image; `.../difference`: network minus reader. The rate is held fixed in the replicates.

    Each reader has another reference, so readers are compared with the network and not with one another.

    Sources: Cohen, "A coefficient of agreement for nominal scales" (Educ. Psychol. Meas. 20, 1960); Light, "Measures of
    response agreement for qualitative data" (Psychol. Bull. 76, 1971).

    Args:
        records: of the network on the section.
        items: of the section, with `index` and `readers` (`bundle.data.readers.boxes_by_reader`).
        criterion: when a candidate hits.
        replicates: R of the bootstrap over patients; 0 for no intervals.
        seed: of the draws.
        level: of confidence.

    Returns:
        Metrics and notes, empty where no two readers looked at one image, and the points with their curves.
    """
    read = {int(item["index"]): item["readers"] for item in items if len(item.get("readers") or ()) > 1}
    read = {index: read[index] for index in records.images.index.tolist() if index in read}
    if not read:
        return {}, {}, []
    if criterion.name == "patch":
        return {}, {NOT_JUDGED: "criterion 'patch' needs the patches of a network: readers have none"}, []
    table = FigureTable(records.findings, level)
    draws = draw_units(table, records.images, replicates, seed)
    names = list(dict.fromkeys(name for readers in read.values() for name in readers))
    place = {index: row for row, index in enumerate(records.images.index.tolist())}
    _put_agreement(table, read, names, criterion, draws, place)
    points: list[ReaderPoint] = []
    for name in names:
        points += _put_reader(table, records, read, name, criterion, draws, place)
    metrics, notes = table.finish()
    notes.pop("bootstrap", None)  # said once, by summarise
    return metrics, notes, points


def reader_agreement(items: Sequence[Item], findings: Sequence[str], criterion: HitCriterion) -> Metrics:
    """The `agreement/...` of `summarise_readers` without intervals, of a section that no network has looked at.

    Args:
        items: of the section.
        findings: names of the K findings.
        criterion: when a box hits another; not `patch`.

    Returns:
        The figures; empty where no two readers looked at one image.
    """
    read = {int(item["index"]): item["readers"] for item in items if len(item.get("readers") or ()) > 1}
    table = FigureTable(tuple(findings))
    if read:
        names = list(dict.fromkeys(name for readers in read.values() for name in readers))
        _put_agreement(
            table, read, names, criterion, Draws.alone(len(read)), {index: row for row, index in enumerate(read)}
        )
    return table.finish()[0]


def _put_agreement(
    table: FigureTable,
    read: Mapping[int, Mapping[str, Item]],
    names: Sequence[str],
    criterion: HitCriterion,
    draws: Draws,
    place: Mapping[int, int],
) -> None:
    findings, pairs = table.findings, []
    for a, b in combinations(names, 2):
        common = [index for index, readers in read.items() if a in readers and b in readers]
        if not common:
            continue
        pairs.append(f"{a}|{b}")
        own = draws.at(np.array([place[index] for index in common]))
        both = [_boxes_agreed(read[index][a], read[index][b], len(findings), criterion) for index in common]
        for k, finding in enumerate(findings):
            mine, theirs, agreed = np.array(both)[..., k].T  # (n,) each
            key = f"{finding}/{a}|{b}"
            table.put(
                f"agreement/kappa/{key}", kappa(mine > 0, theirs > 0, own), "both readers say the same of every image"
            )
            drawn = (mine + theirs) / 2
            kind = Share(float(drawn.sum()), len(np.unique(own.unit[drawn > 0])))
            table.put(f"agreement/f1/{key}", own.ratio(agreed, drawn), "neither drew a box", kind)
    for figure in ("kappa", "f1"):
        for finding in findings:
            table.mean(f"agreement/{figure}/{finding}/{{}}", pairs)
        table.mean(f"agreement/{figure}/{{}}/mean")


def _boxes_agreed(mine: Item, theirs: Item, findings: int, criterion: HitCriterion) -> Floats:
    """Of one image (3, K): how many boxes either drew, and how many pairs of them are of one lesion."""
    tables = [_as_candidates(reader) for reader in (mine, theirs)]
    drawn = [(reader["boxes"], reader["box_finding"]) for reader in (mine, theirs)]
    hits = match(tables[0], *drawn[1], criterion).hits | match(tables[1], *drawn[0], criterion).hits.T
    overlap = overlap_ratio(tables[0][:, None, BOX], tables[1][:, BOX], "iou")
    agreed = np.zeros((3, findings))
    for k in range(findings):
        rows, columns = (np.flatnonzero(finding == k) for _, finding in drawn)
        agreed[:2, k] = len(rows), len(columns)
        if len(rows) and len(columns):
            own = np.ix_(rows, columns)
            agreed[2, k] = len(one_to_one(hits[own], np.zeros(len(rows)), overlap[own])[0])
    return agreed


def _as_candidates(reader: Item) -> Floats:
    """A reader's boxes as candidates (N, 8): score 1, the box's centre as the peak."""
    boxes = np.asarray(reader["boxes"], np.float64).reshape(-1, 4)
    peak = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([reader["box_finding"], np.ones(len(boxes)), peak, boxes])


def kappa(mine: NDArray[np.bool_], theirs: NDArray[np.bool_], draws: Draws) -> Floats:
    """Cohen's kappa of two readers' calls, (p - e) / (1 - e): p the share of equal calls, e what chance would give.

    Args:
        mine, theirs: (n,) calls of the same images.
        draws: of these.

    Returns:
        (C,); NaN in columns in which all calls are the same.
    """
    n, a, b, ab = draws.sums(np.stack([np.ones(len(mine)), mine, theirs, mine & theirs]))
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as it should be
        chance = (a * b + (n - a) * (n - b)) / n**2
        agreement: Floats = ((n - a - b + 2 * ab) / n - chance) / (1 - chance)
    return agreement


def _put_reader(
    table: FigureTable,
    records: Records,
    read: Mapping[int, Mapping[str, Item]],
    name: str,
    criterion: HitCriterion,
    draws: Draws,
    place: Mapping[int, int],
) -> list[ReaderPoint]:
    """Put the figures of one reader."""
    points = []
    judged = {index: readers for index, readers in read.items() if name in readers}
    truths = [
        _truth(index, place[index], [own for other, own in readers.items() if other != name], table.findings)
        for index, readers in judged.items()
    ]
    drew = [_as_candidates(readers[name]) for readers in judged.values()]
    shown = _candidates_of(records, list(judged))
    mine, models = (_judged(tables, truths, table.findings, criterion) for tables in (drew, shown))
    own = draws.at(np.array([place[index] for index in mine.images.index.tolist()]))
    for k, finding in enumerate(table.findings):
        start, reader, model = f"readers/{finding}/{name}", of_finding(mine, k), of_finding(models, k)
        images = len(own.unit)
        rate = own.ratio(np.bincount(reader.fp_image, minlength=images), np.ones(images))
        table.put(f"{start}/fp_per_image", rate)
        found = np.bincount(reader.lesion_image, reader.lesion_score > -np.inf, images)
        sensitivity = own.ratio(found, np.bincount(reader.lesion_image, minlength=images))
        kind, why = share_of(own.unit[reader.lesion_image]), no_lesions(reader)
        table.put(f"{start}/sensitivity", sensitivity, why, kind)
        theirs = sensitivities(own, model, [float(rate[0])])[0]
        table.put(f"{start}/model_sensitivity", theirs, why, kind)
        table.put(f"{start}/difference", theirs - sensitivity, why, Difference.of(kind))
        if len(model.lesion_score):
            curve = froc_curve(model.fp_score, model.lesion_score, len(model.image))
            line = curve.fp_per_image.tolist(), curve.sensitivity.tolist()
            points.append(ReaderPoint(name, finding, float(rate[0]), float(sensitivity[0]), *line))
    for figure in FIGURES:
        table.mean(f"readers/{{}}/{name}/{figure}")
    return points


def _truth(index: int, group: int, others: Sequence[Item], findings: Sequence[str]) -> dict[str, Any]:
    """The reference that other readers make: what any of them saw."""
    boxes = [
        {"finding": int(k), "box": box.tolist(), "reader": number}
        for number, own in enumerate(others)
        for box, k in zip(own["boxes"], own["box_finding"], strict=True)
    ]
    boxes = without_repeats(boxes, Repeats())
    finding = np.array([box["finding"] for box in boxes], np.int64)
    return {
        "index": index,
        "group": group,
        "label": np.isin(np.arange(len(findings)), finding).astype(np.float64),
        "boxed": np.ones(len(findings), bool),
        "boxes": np.array([box["box"] for box in boxes], np.float64).reshape(-1, 4),
        "box_finding": finding,
    }


def _candidates_of(records: Records, images: Sequence[int]) -> list[Floats]:
    """The network's candidates of each image, (M, 8)."""
    every = records.candidates
    order = np.argsort(every.index, kind="stable")
    table = np.column_stack([every.finding, every.score, every.peak, every.box])[order]
    starts, ends = (np.searchsorted(every.index[order], images, side) for side in ("left", "right"))
    return [table[start:end] for start, end in zip(starts, ends, strict=True)]


def _judged(
    tables: Sequence[Floats], truths: Sequence[Item], findings: Sequence[str], criterion: HitCriterion
) -> Records:
    froc = FROCMetric(findings, *astuple(criterion))
    froc([torch.from_numpy(table) for table in tables], truths)
    return froc.records()
