"""What is made of a section's regions: against the measures themselves, whatever the batches."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bundle.comparison import RegionEvaluation
from bundle.data.hard_negatives import KINDS
from bundle.data.texts import TextList
from bundle.grid import boxes_in_grid
from bundle.metrics.draws import draw_counts
from bundle.metrics.intervals import share_interval
from bundle.metrics.region_matching import caption_scores, match_captions, region_to_caption
from bundle.metrics.table import share_of
from bundle.precision import Precision
from bundle.report.region_section import region_section

CANVAS, GRID, D, IMAGES, R, M = 80, (4, 4), 6, 9, 3, 4
TEXTS = TextList(f"{side} {noun}" for noun in ("mass", "nodule", "effusion") for side in ("left", "right", "no left"))


class Told:
    """A network that knows what each region and patch looks like; an image carries its number in its first pixel."""

    grid = GRID

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        self.text = F.normalize(torch.randn(len(TEXTS), D, generator=g), dim=-1)
        self.region = F.normalize(torch.randn(IMAGES, R, D, generator=g), dim=-1)
        self.patch = F.normalize(torch.randn(IMAGES, 16, D, generator=g), dim=-1)

    def eval(self):
        return self

    def __call__(self, image, full, regions, caption_id, negative_id):
        assert full
        number = image[:, 0, 0, 0].long()
        return {
            "region_embedding": self.region[number][:, : regions.shape[1]],
            "region_valid": boxes_in_grid(regions, (CANVAS, CANVAS)),
            "patch_embedding": self.patch[number],
            "caption_embedding": self.text[caption_id] * (caption_id >= 0)[..., None],
            "negative_embedding": self.text[negative_id] * (negative_id >= 0)[..., None],
        }


def section():
    """Images with 0 to 3 regions, of which some have no caption or lie outside; two images a patient."""
    rng = np.random.default_rng(1)
    rows = []
    for index in range(IMAGES):
        low = rng.integers(0, 50, (R, 2))
        boxes = np.concatenate([low, low + 25], 1).astype(np.float32)
        caption = np.where(rng.random(R) < 0.15, -1, rng.integers(len(TEXTS), size=R))
        boxes[index % 4 :] = math.nan
        if index == 7:
            boxes[0] += 500
        rows.append(
            {
                "image": torch.full((1, CANVAS, CANVAS), float(index)),
                "index": torch.tensor(index),
                "group": torch.tensor(index // 2),
                "regions": torch.tensor(boxes),
                "caption_id": torch.tensor(caption),
                "negative_id": torch.tensor(np.where(rng.random((R, M)) < 0.2, -1, rng.integers(9, size=(R, M)))),
                "negative_kind": torch.tensor(rng.integers(len(KINDS), size=(R, M))),
                "canvas_from_stored": torch.eye(3, dtype=torch.float64),
                "stored_size": torch.tensor([CANVAS, CANVAS - 20]),  # the last column of patches is pad
            }
        )
    return rows


TRAINING = [
    {
        "caption_id": np.array([n for n in range(len(TEXTS)) if not TEXTS[n].startswith("no")]),
        "negative_id": np.array([[n for n in range(len(TEXTS)) if TEXTS[n].startswith("no")]]),
    }
]


def evaluate(rows, batch=2, training=TRAINING, **settings):
    loader = [
        {key: torch.stack([row[key] for row in rows[i : i + batch]]) for key in rows[0]}
        for i in range(0, len(rows), batch)
    ]
    device, precision = torch.device("cpu"), Precision("float32")
    return RegionEvaluation(Told(), loader, training, TEXTS, device, precision, **settings).run()


def counted(rows):
    """Image and region number of all that count."""
    valid = [boxes_in_grid(row["regions"], (CANVAS, CANVAS)) & (row["caption_id"] >= 0) for row in rows]
    return [(i, r) for i, each in enumerate(valid) for r in each.nonzero()[:, 0].tolist()]


def test_figures_are_those_of_the_measures():
    rows, told = section(), Told()
    places = counted(rows)
    assert 8 < len(places) < 13
    region = torch.stack([told.region[i, r] for i, r in places])
    caption = np.array([int(rows[i]["caption_id"][r]) for i, r in places])
    negative = np.stack([rows[i]["negative_id"][r].numpy() for i, r in places])
    kind = np.stack([rows[i]["negative_kind"][r].numpy() for i, r in places])
    metrics, _ = evaluate(rows, replicates=40, seed=2)
    found = match_captions(*caption_scores(region, told.text, caption, negative))
    assert metrics["regions/accuracy"] == pytest.approx(np.nanmean(found.right))
    assert metrics["regions/accuracy/chance"] == pytest.approx(np.nanmean(found.chance))
    for number, name in enumerate(KINDS):
        pairs = found.pair[(kind == number) & ~np.isnan(found.pair)]
        assert metrics[f"regions/pairwise/{name}/n_pairs"] == len(pairs)
        assert metrics[f"regions/pairwise/{name}"] == pytest.approx(pairs.mean())
    there = region_to_caption(region, told.text, caption)
    assert metrics["regions/region_to_caption/r_at_1"] == pytest.approx(there.recall[1])
    assert metrics["regions/region_to_caption/median_rank"] == there.median_rank
    assert metrics["regions/caption_to_region/gallery_size"] == len(places) == metrics["regions/n_regions"]
    assert metrics["regions/n_images"] == len({i for i, _ in places})
    groups = np.array([i // 2 for i, _ in places])
    units, unit = np.unique(groups, return_inverse=True)
    counts = draw_counts(len(units), 40, 2)
    means = [np.nanmean(np.repeat(found.right, counts[unit, r])) for r in range(40)]
    asked = ~np.isnan(found.right)
    ends = metrics["regions/accuracy/low"], metrics["regions/accuracy/high"]
    assert ends == pytest.approx(share_interval(np.nanmean(found.right), np.array(means), share_of(unit[asked])))


def test_pointing_looks_at_the_patches_that_show_the_image():
    rows, told = section(), Told()
    hits, chances = [], []
    for i, r in counted(rows):
        number = int(rows[i]["caption_id"][r])
        similarity = (told.patch[i] @ told.text[number]).view(GRID)[:, :3]  # without the pad
        best = divmod(int(similarity.argmax()), 3)
        same = [q for j, q in counted(rows) if j == i and int(rows[i]["caption_id"][q]) == number]
        carries = np.zeros((4, 3), bool)
        for q in same:
            x0, y0, x1, y1 = (rows[i]["regions"][q] / 20).tolist()  # patches
            for y in range(4):
                for x in range(3):
                    overlap = max(0, min(x1, x + 1) - max(x0, x)) * max(0, min(y1, y + 1) - max(y0, y))
                    carries[y, x] |= overlap >= 0.5 or overlap >= 0.5 * (x1 - x0) * (y1 - y0)
        hits.append(carries[best])
        chances.append(carries.mean())
    metrics, _ = evaluate(rows, replicates=0)
    assert metrics["regions/pointing"] == pytest.approx(np.mean(hits))
    assert metrics["regions/pointing/chance"] == pytest.approx(np.mean(chances))


def test_batches_and_order_change_nothing():
    rows = section()
    whole = evaluate(rows, batch=len(rows), replicates=20)
    assert evaluate(rows, batch=1, replicates=20) == whole
    assert evaluate(rows[::-1], batch=4, replicates=20) == whole


def test_words_alone_know_a_negation():
    rows = section()
    for row in rows:  # true captions never negate, half of the negatives do
        row["caption_id"] = torch.tensor([0, 3, 6])
        row["negative_id"] = torch.tensor([[2, 1], [5, 4], [8, 7]])
        row["negative_kind"] = torch.tensor([[KINDS.index("presence"), KINDS.index("side")]] * 3)
    metrics, _ = evaluate(rows, replicates=30)
    assert metrics["regions/pairwise/presence/blind"] == 1
    assert metrics["regions/pairwise/presence/difference"] == pytest.approx(metrics["regions/pairwise/presence"] - 1)
    assert {"regions/pairwise/side/blind/low", "regions/accuracy/difference/high"} <= metrics.keys()
    without, _ = evaluate(rows, training=None, replicates=0)
    assert not any("blind" in key or "difference" in key for key in without)
    assert without["regions/accuracy"] == metrics["regions/accuracy"]


def test_a_section_without_captioned_regions_says_so():
    rows = section()
    for row in rows:
        row["caption_id"].fill_(-1)
    assert evaluate(rows, replicates=10) == ({}, {"regions": "no image has a captioned region"})


def test_the_report_shows_it():
    metrics, notes = evaluate(section(), replicates=20)
    against, retrieval, pointing = region_section(metrics, notes).tables
    assert [len(cells) for _, cells in against.rows] == [4] * (1 + len(KINDS))
    assert against.rows[0][1][0]["text"] == f"{metrics['regions/accuracy']:.2f}"
    assert [name for name, _ in retrieval.rows] == ["region to caption", "caption to region"]
    assert pointing.rows[0][1][1]["text"] == f"{metrics['regions/pointing/chance']:.2f}"
    without = region_section(*evaluate(section(), training=None, replicates=0))
    assert [len(cells) for _, cells in without.tables[0].rows] == [2] * (1 + len(KINDS))
    assert region_section({"auroc/mean": 0.5}, {}) is None
