"""A small evaluation with known results, made by the real metrics."""

from typing import Any

import numpy as np
import torch

from bundle.metrics import AUROCMetric, FROCMetric, Records

FINDINGS = ("Effusion", "Mass & <co>", "Nodule")  # names are users' words: markup in them must stay text
GRID, SIDE = 8, 320


def truth(
    index: int, label: list[float], boxes: list[list[float]], finding: list[int], cnr: list[float]
) -> dict[str, Any]:
    """Ground truth of one image as the metrics take it; boxes are complete for every finding labelled 1."""
    return {
        "index": index,
        "label": torch.tensor(label),
        "boxed": torch.tensor(label) == 1,
        "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        "box_finding": torch.tensor(finding, dtype=torch.int64),
        "box_cnr": torch.tensor(cnr, dtype=torch.float64),
        "to_stored": torch.diag(torch.tensor([SIDE / GRID, SIDE / GRID, 1.0], dtype=torch.float64)),
        "stored_size": torch.tensor([SIDE, SIDE]),
        "grid_size": (GRID, GRID),
    }


def made_records(images: int = 24, seed: int = 0) -> Records:
    """Effusion and Mass with lesions found and missed and false positives; Nodule never present, once unknown."""
    rng = np.random.default_rng(seed)
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ("image", "patch"))
    for index in range(images):
        label = [float(index % 2), float(index % 3 == 0), np.nan if index == 0 else 0.0]
        boxes, finding, cnr, rows = [], [], [], []
        for k in (0, 1):
            if label[k]:
                x, y = rng.uniform(10, 200, 2)
                boxes.append([x, y, x + 80, y + 80])
                finding.append(k)
                cnr.append(float(rng.gamma(2.0)))
                if rng.random() < 0.8:
                    rows.append([k, rng.uniform(0.4, 0.99), x + 40, y + 40, x, y, x + 80, y + 80])
        for k in range(3):
            if rng.random() < 0.4:
                rows.append([k, rng.uniform(0.05, 0.6), 305, 305, 290, 290, 320, 320])
        about = truth(index, label, boxes, finding, cnr)
        froc([torch.tensor(rows, dtype=torch.float64).reshape(-1, 8)], [about])
        scores = torch.tensor([rng.uniform(0.3, 1.0) if value == 1 else rng.uniform(0.0, 0.7) for value in label])
        auroc([{"image": scores, "patch": scores**2}], [about])
    return froc.records().with_scores(auroc.records())
