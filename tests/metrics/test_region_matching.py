"""Regions and captions: drawn vectors, loops, ties, equal captions, pads."""

import numpy as np
import pytest

from bundle.metrics import region_matching
from bundle.metrics.region_matching import (
    by_kind,
    caption_scores,
    caption_to_region,
    match_captions,
    point,
    region_to_caption,
)
from tests.metrics.test_retrieval import unit

NAN = float("nan")


def drawn(seed, n=30, m=4, t=12, d=5):
    """Regions near their captions, which repeat; 0 to m negatives, of which some are the caption itself."""
    rng = np.random.default_rng(seed)
    caption = rng.normal(size=(t, d))
    own = rng.integers(t, size=n)
    region = caption[own] + rng.normal(size=(n, d))
    wrong = np.where(rng.random((n, m)) < 0.3, -1, rng.integers(t, size=(n, m)))
    wrong[0] = -1
    wrong[1] = own[1]
    region, caption = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (region, caption))
    return region, caption, own, wrong


# --- hard negatives ---------------------------------------------------------------------------------------------------


def test_by_hand():
    caption = unit(0, 90, 180, 30)
    region = unit(10, 45, 100)  # region 1 lies between its caption and the negative: a tie
    true, false = caption_scores(region, caption, [0, 0, 1], [[1, 2], [1, -1], [0, 3]])
    assert true == pytest.approx(np.cos(np.radians([10, 45, 10])))
    assert false == pytest.approx(np.cos(np.radians([[80, 170], [45, NAN], [100, 70]])), nan_ok=True)
    found = match_captions(true, false)
    assert found.right.tolist() == [1, 0, 1]
    assert found.chance.tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 3])
    table = by_kind(found.pair, [[0, 1], [1, -1], [0, 0]], 3)
    assert np.nanmean(table[:, 0]) == 1
    assert table[:, 1].tolist() == pytest.approx([NAN, 1, 0, NAN, NAN, NAN], nan_ok=True)
    assert np.isnan(table[:, 2]).all()


@pytest.mark.parametrize("chunk", [1 << 22, 30])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_same_in_loops(seed, chunk, monkeypatch):
    monkeypatch.setattr(region_matching, "_CHUNK", chunk)
    region, caption, own, wrong = drawn(seed)
    found = match_captions(*caption_scores(region, caption, own, wrong))
    for i in range(len(region)):
        wins = []
        for j, number in enumerate(wrong[i].tolist()):
            if number < 0 or number == own[i]:
                assert np.isnan(found.pair[i, j])
                continue
            wins.append(float(region[i] @ caption[own[i]]) > float(region[i] @ caption[number]))
            assert found.pair[i, j] == wins[-1]
        if not wins:
            assert np.isnan([found.right[i], found.chance[i]]).all()
        else:
            assert (found.right[i], found.chance[i]) == (all(wins), 1 / (1 + len(wins)))
    assert np.isnan(found.right[:2]).all()


def test_a_network_that_says_the_same_of_all_is_never_right():
    same = np.tile(unit(33), (6, 1))
    found = match_captions(*caption_scores(same, same, np.zeros(6), np.arange(1, 6)[None].repeat(6, 0)))
    assert found.right.tolist() == [0] * 6


def test_no_room_for_negatives_and_no_regions():
    none = match_captions(*caption_scores(unit(0), unit(0), [0], np.zeros((1, 0))))
    assert np.isnan(none.right).all()
    assert match_captions(*caption_scores(np.zeros((0, 2)), unit(0), [], np.zeros((0, 3)))).pair.shape == (0, 3)


@pytest.mark.parametrize(
    ("own", "wrong", "message"),
    [
        ([0], [[1]], "2 regions"),
        ([0, 1], [1, 0], "2 regions"),
        ([0, 2], [[1], [1]], "outside the 2"),
        ([0, 1], [[2], [0]], "outside"),
    ],
)
def test_faults(own, wrong, message):
    with pytest.raises(ValueError, match=message):
        caption_scores(unit(0, 1), unit(0, 1), own, wrong)


# --- retrieval --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_retrieval_equals_the_same_in_loops(seed):
    region, caption, own, _ = drawn(seed)
    distinct = sorted(set(own.tolist()))
    there, back = region_to_caption(region, caption, own), caption_to_region(region, caption, own)
    for i, number in enumerate(own.tolist()):
        score = float(region[i] @ caption[number])
        assert there.rank[i] == 1 + sum(float(region[i] @ caption[j]) >= score for j in distinct if j != number)
        best = max(float(caption[number] @ region[j]) for j in range(len(own)) if own[j] == number)
        assert back.rank[i] == 1 + sum(
            float(caption[number] @ region[j]) >= best for j in range(len(own)) if own[j] != number
        )
    assert (there.gallery_size, there.distinct_texts) == (len(distinct), len(distinct))
    assert (back.gallery_size, back.distinct_texts) == (len(own), len(distinct))


def test_captions_of_no_region_are_not_in_the_gallery():
    there = region_to_caption(unit(0, 90), unit(80, 0.0, 10), [2, 0])  # the caption at 0 is nobody's
    assert there.rank.tolist() == [1, 1]


# --- pointing ---------------------------------------------------------------------------------------------------------


def test_pointing_by_hand():
    similarity = [[0.1, 0.9, 0.3, 0.9], [0.1, 0.9, 0.3, 0.2], [0.1, 0.9, 0.3, 0.2], [0, 0, 0, 0]]
    there = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 0]]
    shown = [[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1]]
    value, chance = point(similarity, there, shown)
    assert value.tolist() == pytest.approx([1 / 2, 0, 1, 2 / 3])
    assert chance.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 3, 2 / 3])


def test_an_image_of_which_nothing_shows_is_undefined():
    assert np.isnan(point([[1.0, 2.0]], [[1, 0]], [[0, 0]])).all()
    assert point(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros((0, 4)))[0].shape == (0,)


@pytest.mark.parametrize(
    ("similarity", "there", "message"),
    [([1.0, 2.0], [1, 0], r"\(N, P\)"), ([[1.0, 2.0]], [[1]], r"\(N, P\)"), ([[NAN, 2.0]], [[1, 0]], "not finite")],
)
def test_pointing_faults(similarity, there, message):
    with pytest.raises(ValueError, match=message):
        point(similarity, there, np.ones_like(similarity))
