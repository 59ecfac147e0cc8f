"""Fewer boxes, for label efficiency."""

import numpy as np
import pytest
import torch

from bundle.data.boxed_sampler import keeps_boxes
from bundle.transforms import KeepBoxesd


def sample(index: int) -> dict[str, object]:
    """Finding 0 present with a box, 1 absent, 2 unknown."""
    return {
        "index": index,
        "label": np.array([1, 0, np.nan], np.float32),
        "boxed": np.array([True, True, False]),
        "boxes": np.array([[1.0, 2, 3, 4]]),
        "box_finding": np.array([0]),
        "box_cnr": np.array([2.5]),
    }


def test_smaller_shares_are_subsets_of_about_the_right_size() -> None:
    kept = {share: {i for i in range(4000) if keeps_boxes(0, i, share)} for share in (0, 0.05, 0.1, 0.25, 1)}
    assert kept[0] < kept[0.05] < kept[0.1] < kept[0.25] < kept[1]
    for share, images in kept.items():
        assert len(images) / 4000 == pytest.approx(share, abs=0.02)
    other = {i for i in range(4000) if keeps_boxes(1, i, 0.1)}
    assert 0.05 < len(other & kept[0.1]) / len(other) < 0.2  # another seed, another choice


def test_forgotten_boxes_make_a_positive_unboxed_and_leave_the_rest() -> None:
    forgotten = KeepBoxesd(fraction=0.0)(sample(3))
    assert forgotten["boxes"].shape == (0, 4)
    assert len(forgotten["box_finding"]) == len(forgotten["box_cnr"]) == 0
    assert torch.as_tensor(forgotten["boxed"]).tolist() == [False, True, False]
    assert forgotten["label"][0] == 1
    kept = KeepBoxesd(fraction=1.0)(sample(3))
    assert kept["boxes"].shape == (1, 4)
    assert list(kept["boxed"]) == [True, True, False]


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fraction must lie in 0\.\.1"):
        KeepBoxesd(fraction=1.5)
