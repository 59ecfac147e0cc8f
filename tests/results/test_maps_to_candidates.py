"""Patch maps to candidates: a batch at once gives what its images give one by one."""

import pytest
import torch

from bundle.grid import grid_to_stored
from bundle.handlers.pairs import froc_pair, images_of
from bundle.results import MapsToCandidatesd

CANVAS, GRID = 70, (7, 7)


def batch(images: int = 3) -> dict:
    generator = torch.Generator().manual_seed(0)
    zoom = torch.rand(images, generator=generator).double() + 0.5
    return {
        "index": torch.arange(images) + 40,
        "pred": torch.rand(images, 2, *GRID, generator=generator),
        "canvas_from_stored": torch.diag_embed(torch.stack([zoom, zoom, torch.ones(images)], 1)),
        "stored_size": (CANVAS / zoom[:, None]).floor().long().expand(images, 2),
    }


def test_the_tables_are_the_same():
    transform = MapsToCandidatesd(canvas=CANVAS, floor=0.3, max_candidates=4)
    together = transform(batch())
    for one, whole in zip(images_of(batch()), images_of(together), strict=True):
        single = transform(one)
        assert torch.equal(single["candidates"], whole["candidates"])
        assert torch.equal(single["to_stored"], whole["to_stored"])
        assert torch.equal(single["to_stored"], grid_to_stored(one["canvas_from_stored"], (CANVAS, CANVAS), GRID))
        assert tuple(single["grid_size"]) == tuple(whole["grid_size"]) == GRID


@pytest.mark.parametrize("value", [float("nan"), 1.5])
def test_the_image_at_fault_is_named(value):
    broken = batch()
    broken["pred"][1, 0, 3, 3] = value
    with pytest.raises(ValueError, match="image 41: "):
        MapsToCandidatesd(canvas=CANVAS)(broken)
    del broken["index"]
    with pytest.raises(ValueError, match=r"^(a patch map|maps)"):
        MapsToCandidatesd(canvas=CANVAS)(broken)


def test_images_of_a_batch():
    output = {"scores": {"image": torch.tensor([[1.0], [2.0]])}, "candidates": ["a", "b"], "index": torch.arange(2)}
    tables, truths = froc_pair(output)
    assert tables == ["a", "b"]
    assert [float(truth["scores"]["image"]) for truth in truths] == [1.0, 2.0]
    assert images_of([{"x": 1}]) == [{"x": 1}]
    with pytest.raises(ValueError, match="different lengths"):
        images_of({"a": torch.zeros(2), "b": torch.zeros(3)})
