"""Batches with a wanted share of boxed images."""

from collections import Counter

import pytest
import torch
from monai.data import Dataset

from bundle.data.boxed_sampler import BoxedSampler, keeps_boxes
from bundle.data.loading import EpochSampler


def data(boxed=5, count=40):
    return Dataset([{"index": i, "boxes": torch.zeros(int(i < boxed), 4)} for i in range(count)])


def test_each_batch_has_its_share_and_an_epoch_its_length():
    sampler = BoxedSampler(data(), batch_size=8, share=0.5, seed=3)
    order = list(sampler)
    assert len(order) == len(sampler) == 40
    for start in range(0, 40, 8):
        batch = order[start : start + 8]
        assert [place < 5 for place in batch] == [True] * 4 + [False] * 4
    often = Counter(place for place in order if place < 5)
    assert set(often.values()) == {4}  # 20 places for 5 images: each as often as any other
    assert max(Counter(place for place in order if place >= 5).values()) == 1


def test_an_epoch_draws_the_same_whenever_it_is_drawn():
    first, second = (BoxedSampler(data(), 8, 0.25, seed=1) for _ in range(2))
    first.set_epoch(4)
    list(second)
    second.set_epoch(4)
    assert list(first) == list(second)
    second.set_epoch(5)
    assert list(first) != list(second)


def test_images_that_lost_their_boxes_are_no_boxed_images():
    kept = {i for i in range(40) if keeps_boxes(2, i, 0.3)}
    assert 0 < len(kept) < 40
    order = list(BoxedSampler(data(boxed=40), batch_size=8, share=0.5, boxed_share=0.3, seed=2))
    assert {place for start in range(0, 40, 8) for place in order[start : start + 4]} <= kept
    assert not kept & {place for start in range(0, 40, 8) for place in order[start + 4 : start + 8]}


def test_ranks_share_a_batch(monkeypatch):
    orders = []
    for rank in range(2):
        sampler = BoxedSampler(data(boxed=10), batch_size=4, share=0.5, seed=1)
        sampler.num_replicas, sampler.rank = 2, rank
        sampler.num_samples, sampler.total_size = 20, 40
        orders.append(list(sampler))
        for start in range(0, 20, 4):
            assert [place < 10 for place in orders[-1][start : start + 4]] == [True, True, False, False]
    assert not set(orders[0]) & set(orders[1]) - set(range(10))


def test_without_a_share_it_is_the_epoch_sampler():
    assert list(BoxedSampler(data(), 8, seed=3)) == list(EpochSampler(data(), seed=3))


@pytest.mark.parametrize("share", [0, 0.01, 0.99, 1.0])
def test_a_share_without_both_kinds_is_refused(share):
    with pytest.raises(ValueError, match=r"boxed_in_batch .* leaves room for both kinds"):
        BoxedSampler(data(), 8, share)


@pytest.mark.parametrize("boxed", [0, 40])
def test_a_section_without_both_kinds_is_refused(boxed):
    with pytest.raises(ValueError, match=f"of 40 images {boxed} have a box"):
        BoxedSampler(data(boxed), 8, 0.5)
