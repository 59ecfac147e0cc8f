"""Drawn evaluations for the metric tests: candidates and ground truth of a few images, by hand or at random."""

from typing import Any

import numpy as np
import torch

from bundle.metrics import AUROCMetric, FROCMetric, Records
from bundle.metrics.records import FindingRecords

NAN = float("nan")


def candidates(*rows: tuple) -> torch.Tensor:
    """Rows of (finding, score, x, y), each with a box of 10 px around its peak."""
    table = [[k, score, x, y, x - 5, y - 5, x + 5, y + 5] for k, score, x, y in rows]
    return torch.tensor(table, dtype=torch.float64).reshape(-1, 8)


def truth(
    index: int, label: list, boxes: list | None = None, boxed: list | None = None, padding: int = 0, **more: Any
) -> dict[str, Any]:
    """Boxes as (finding, x0, y0, x1, y1); `boxed` is by default every finding whose label is 0 or that has a box."""
    boxes = boxes or []
    found = {box[0] for box in boxes}
    boxed = [label[k] == 0 or k in found for k in range(len(label))] if boxed is None else boxed
    return {
        "index": index,
        "label": torch.tensor(label, dtype=torch.float32),
        "boxes": torch.tensor([list(box[1:]) for box in boxes] + [[NAN] * 4] * padding).reshape(-1, 4),
        "box_finding": torch.tensor([box[0] for box in boxes] + [-1] * padding, dtype=torch.int64),
        "boxed": torch.tensor(boxed),
        **more,
    }


def random_evaluation(images: int, findings: int = 3, seed: int = 0) -> tuple[list, list, list]:
    """Candidates, ground truths and image scores of a random evaluation, scores rounded so that ties are many."""
    rng = np.random.default_rng(seed)
    tables, truths, scores = [], [], []
    for index in range(images):
        label = rng.choice([0.0, 0.0, 1.0, 1.0, NAN], findings)
        boxes, boxed = [], []
        for k in range(findings):
            complete = bool(label[k] == 0 or (label[k] == 1 and rng.random() < 0.8))
            boxed.append(complete)
            if label[k] == 1 and complete:
                for low in rng.integers(0, 60, (rng.integers(1, 4), 2)).tolist():
                    boxes.append((k, *low, *(np.array(low) + rng.integers(15, 40, 2)).tolist()))
        count = int(rng.integers(0, 12))
        rows = zip(
            rng.integers(0, findings, count),
            np.round(rng.random(count), 2),
            *(rng.random((2, count)) * 100),
            strict=True,
        )
        tables.append(candidates(*rows))
        truths.append(
            truth(
                index,
                label.tolist(),
                boxes,
                boxed,
                padding=int(rng.integers(0, 3)),
                to_stored=torch.diag(torch.tensor([12.5, 12.5, 1.0], dtype=torch.float64)),
                stored_size=(100, 100),
                grid_size=(8, 8),
            )
        )
        truths[-1]["box_cnr"] = torch.tensor(rng.random(len(truths[-1]["boxes"])))
        truths[-1]["group"] = index // 2
        known = np.nan_to_num(label, nan=0.5)
        scores.append(
            {name: torch.tensor(np.round(known * 0.3 + rng.random(findings), 1)) for name in ("image", "pooled")}
        )
    return tables, truths, scores


def records_of(tables: list, truths: list, scores: list | None = None, findings: list | None = None) -> Records:
    """The records of an evaluation, by default of the findings of `random_evaluation`."""
    findings = findings or ["A", "B", "C"]
    froc = FROCMetric(findings)
    froc(tables, truths)
    if scores is None:
        return froc.records()
    auroc = AUROCMetric(findings, list(scores[0]))
    auroc(scores, truths)
    return froc.records().with_scores(auroc.records())


def resampled(data: FindingRecords, drawn: np.ndarray) -> tuple[list, list, list, list, int]:
    """The scores of a data set in which image i stands drawn[i] times: every copy an image of its own."""
    fp, lesion, lesion_image, normal, images = [], [], [], [], 0
    for image, times in enumerate(drawn):
        for _ in range(times):
            fp += data.fp_score[data.fp_image == image].tolist()
            own = data.lesion_score[data.lesion_image == image].tolist()
            lesion += own
            lesion_image += [images] * len(own)
            normal += data.normal_score[data.normal_image == image].tolist()
            images += image in data.image
    return fp, lesion, lesion_image, normal, images


def pairs(name: str) -> Any:
    """Output transform: (list of `name`, list of ground truths)."""
    return lambda output: ([image[name] for image in output], [image["truth"] for image in output])
