"""Regions on the canvas, in step with their captions, and no more of them than the cap."""

import logging

import numpy as np
import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose

from bundle.data.loading import EpochSampler
from bundle.transforms import BoxesToCanvasd, KeepBoxesd, RegionsToCanvasd


def sample(count=3, index=5):
    """Boxes along a row of a stored image that the canvas halves; what belongs to each names it."""
    left = np.arange(count, dtype=np.float32) * 20
    boxes = np.stack([left, np.full(count, 4), left + 10, np.full(count, 24)], 1).astype(np.float32)
    number = np.arange(count)
    return {
        "index": index,
        "label": np.array([1.0], np.float32),
        "boxed": np.array([True]),
        "boxes": boxes.reshape(-1, 4),
        "box_finding": number * 0,
        "box_cnr": number.astype(np.float32),
        "caption_id": number + 100,
        "negative_id": number[:, None] + np.array([200, 300]),
        "canvas_from_stored": torch.diag(torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64)),
    }


def test_boxes_move_to_the_canvas_and_keep_their_rows():
    before = sample()
    out = RegionsToCanvasd(canvas=24)(before)
    assert out["regions"].tolist() == [[0, 2, 5, 12], [10, 2, 15, 12], [20, 2, 25, 12]]
    assert out["region_valid"].tolist() == [True, True, True]
    assert out["caption_id"] is before["caption_id"]
    assert "regions" not in before


def test_a_box_that_left_the_canvas_is_not_valid():
    out = RegionsToCanvasd(canvas=20)(sample())  # the third begins where the canvas ends
    assert out["regions"].shape == (3, 4)
    assert out["region_valid"].tolist() == [True, True, False]
    assert out["caption_id"].tolist() == [100, 101, 102]


def test_an_image_without_boxes():
    out = RegionsToCanvasd()(sample(0))
    assert out["regions"].shape == (0, 4)
    assert out["region_valid"].shape == (0,)
    assert out["region_valid"].dtype == torch.bool


def test_more_than_the_cap_are_drawn_by_seed_epoch_and_image(caplog):
    transform = RegionsToCanvasd(canvas=900, max_regions=4, seed=1)

    def drawn(epoch, index, by=transform):
        by.set_epoch(epoch)
        out = by(sample(9, index))
        kept = (out["caption_id"] - 100).tolist()
        assert len(kept) == 4
        assert kept == sorted(kept)
        assert out["negative_id"].tolist() == [[k + 200, k + 300] for k in kept]
        assert out["box_cnr"].tolist() == kept
        assert out["regions"][:, 0].tolist() == [10.0 * k for k in kept]
        assert torch.as_tensor(out["boxes"])[:, 0].tolist() == [20.0 * k for k in kept]
        return tuple(kept)

    with caplog.at_level(logging.WARNING):
        first = [drawn(1, index) for index in range(6)]
        assert [drawn(1, index) for index in range(6)] == first
        assert [drawn(2, index) for index in range(6)] != first
    assert caplog.text.count("9 boxes, more than max_regions 4: each epoch draws 4 of them") == 1
    assert len(set(first)) > 2
    assert drawn(1, 0, RegionsToCanvasd(canvas=900, max_regions=4, seed=1)) == first[0]
    assert [drawn(1, i, RegionsToCanvasd(canvas=900, max_regions=4, seed=2)) for i in range(6)] != first
    assert set().union(*(drawn(epoch, 0) for epoch in range(20))) == set(range(9))


def test_the_sampler_tells_the_epoch():
    transform = RegionsToCanvasd(max_regions=2)
    EpochSampler(Dataset([sample()], Compose([transform]))).set_epoch(3)
    assert int(transform._epoch) == 3


def test_a_cap_of_none_is_refused():
    with pytest.raises(ValueError, match="max_regions is 0; give 1 or more"):
        RegionsToCanvasd(max_regions=0)


def test_who_drops_a_box_drops_its_rows():
    forgotten = KeepBoxesd(fraction=0.0)(sample())
    assert [len(forgotten[row]) for row in ("boxes", "caption_id", "negative_id")] == [0, 0, 0]
    assert forgotten["negative_id"].shape == (0, 2)
    cut = BoxesToCanvasd(canvas=20)(sample())
    assert cut["boxes"].shape == (2, 4)
    assert cut["caption_id"].tolist() == [100, 101]
    assert cut["negative_id"].tolist() == [[200, 300], [201, 301]]
