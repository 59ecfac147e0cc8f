"""Boxes to the canvas and back: a detector that says what it was told finds every lesion, and nothing else."""

import math

import pytest
import torch

from bundle.data.loading import collate_radiographs
from bundle.handlers import auroc_pair, froc_pair
from bundle.metrics import AUROCMetric, FROCMetric
from bundle.report.gallery import Gallery
from bundle.results import DetectionsToCandidatesd
from bundle.transforms import BoxesToCanvasd, FitToCanvasd

CANVAS = 452
FINDINGS = ["Effusion", "Mass"]
# heights and widths of the stored images; boxes in their corners too
IMAGES = {
    (640, 448): ([[0, 600, 200, 640], [300, 100, 330, 140]], [0, 1]),
    (500, 620): ([[600, 0, 620, 30]], [1]),
    (452, 452): ([], []),
}


def sample(index, size, boxes, finding):
    label = torch.zeros(2)
    label[finding] = 1
    return {
        "index": index,
        "image": torch.rand(1, *size),
        "boxes": torch.tensor(boxes).reshape(-1, 4).float(),
        "box_finding": torch.tensor(finding, dtype=torch.int64),
        "label": label,
        "boxed": torch.ones(2, dtype=torch.bool),
        "stored_size": torch.tensor(size),
    }


@pytest.fixture
def samples():
    """As validation sees them: boxes in stored pixels, images on the canvas."""
    fit = FitToCanvasd(size=CANVAS)
    return [fit(sample(i, size, *IMAGES[size])) for i, size in enumerate(IMAGES)]


def detect(told, count=8):
    """Perfect boxes in canvas pixels among queries that see nothing, as `BoxDetector` gives them."""
    boxes, scores = torch.rand(count, 4).sort(-1).values * 100, torch.zeros(count, len(FINDINGS))
    boxes[: len(told["boxes"])] = told["boxes"]
    scores[range(len(told["boxes"])), told["box_finding"]] = 0.9
    return {"detection_boxes": boxes, "detection_scores": scores}


def test_round_trip(samples):
    train = BoxesToCanvasd(canvas=CANVAS)
    settings = {"_desc_": "as in a config", "floor": 0.05, "overlap": None, "max_candidates": 20}
    after = DetectionsToCandidatesd(canvas=CANVAS, settings=settings)
    output = [after({**s, **detect(train(s))}) for s in samples]
    for truth, found in zip(samples, output, strict=True):
        torch.testing.assert_close(found["candidates"][:, 4:].float(), truth["boxes"], rtol=0, atol=1e-3)
    froc, auroc = FROCMetric(FINDINGS, "iou", 0.99), AUROCMetric(FINDINGS)
    froc(*froc_pair(output))
    auroc(*auroc_pair(output))
    assert froc.aggregate().item() == 1
    assert auroc.aggregate().item() == 1
    records = froc.records()
    assert (records.candidates.lesion >= 0).all()
    assert not (records.lesions.oracle == records.lesions.oracle).any()  # no grid, no ceiling
    assert all(math.isnan(area) for area in records.images.patch_area)  # and no sizes


def test_the_gallery_can_show_it(samples):
    after = DetectionsToCandidatesd(canvas=CANVAS)
    gallery = Gallery(FINDINGS, 6)
    for truth in samples:
        found = after({**truth, **detect(BoxesToCanvasd(canvas=CANVAS)(truth))})
        assert found["pred"].shape == (2, 16, 16)
        gallery.add({**truth, **found})
    hits = gallery.choose({0: 0.5, 1: 0.5})
    assert {s.finding for s in hits} == {0, 1}
    for sighting in hits:  # the box glows, in the picture's frame
        box = next(c for c in sighting.candidates if c[0] == sighting.finding)
        x, y, _ = torch.linalg.inv(torch.from_numpy(sighting.to_picture)) @ torch.tensor([box[2], box[3], 1.0]).double()
        assert sighting.maps[sighting.finding, int(y), int(x)] == pytest.approx(0.9)


def test_boxes_that_leave_the_canvas_go_with_their_finding(samples):
    shifted = dict(samples[0])
    move = torch.eye(3, dtype=torch.float64)
    move[1, 2] = -150.0  # canvas pixels: the upper box leaves it
    shifted["canvas_from_stored"] = move @ shifted["canvas_from_stored"]
    told = BoxesToCanvasd(canvas=CANVAS)(shifted)
    assert told["box_finding"].tolist() == [0]
    assert told["boxes"].shape == (1, 4)
    assert shifted["box_finding"].tolist() == [0, 1]  # the input is as it was


def test_a_batch_pads_them(samples):
    keep = ("image", "boxes", "box_finding", "label", "boxed", "index")
    told = [BoxesToCanvasd(canvas=CANVAS)(s) for s in samples]
    batch = collate_radiographs([{key: s[key] for key in keep} for s in told])
    assert batch["boxes"].shape == (3, 2, 4)
    assert batch["box_finding"].tolist() == [[0, 1], [1, -1], [-1, -1]]
    assert math.isnan(batch["boxes"][2, 0, 0])
