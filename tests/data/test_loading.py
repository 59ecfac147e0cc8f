"""Batches and the order of epochs."""

import math
from functools import partial

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose

from bundle.data.loading import EpochSampler, collate_radiographs
from bundle.transforms import AugmentRadiographd


def test_boxes_are_padded_and_texts_left_behind():
    samples = [
        {"image": torch.ones(1, 2, 2), "boxes": torch.zeros(0, 4), "box_finding": torch.zeros(0).long(), "report": "x"},
        {"image": torch.ones(1, 2, 2), "boxes": torch.ones(2, 4), "box_finding": torch.tensor([1, 0]), "report": "y"},
    ]
    batch = collate_radiographs(samples)
    assert set(batch) == {"image", "boxes", "box_finding"}
    assert batch["boxes"].shape == (2, 2, 4)
    assert torch.isnan(batch["boxes"][0]).all()
    assert batch["box_finding"].tolist() == [[-1, -1], [1, 0]]


def test_regions_are_padded_with_what_belongs_to_them():
    def sample(count):
        return {
            "boxes": torch.zeros(3, 4),  # more boxes than regions: a cap
            "regions": torch.zeros(count, 4),
            "region_valid": torch.ones(count, dtype=torch.bool),
            "caption_id": torch.arange(count),
            "negative_id": torch.arange(2 * count).view(count, 2),
            "report_id": 7,
        }

    batch = collate_radiographs([sample(1), sample(2), sample(0)])
    assert torch.isnan(batch["regions"][0, 1]).all()
    assert batch["region_valid"].tolist() == [[True, False], [True, True], [False, False]]
    assert batch["caption_id"].tolist() == [[0, -1], [0, 1], [-1, -1]]
    assert batch["negative_id"].shape == (3, 2, 2)
    assert batch["negative_id"][2].tolist() == [[-1, -1], [-1, -1]]
    assert batch["boxes"].shape == (3, 3, 4)
    assert batch["report_id"].tolist() == [7, 7, 7]


def items(count=7):
    affine = torch.eye(3, dtype=torch.float64)
    return [{"image": torch.full((1, 8, 8), 0.5), "index": i, "canvas_from_stored": affine} for i in range(count)]


def epoch(loader, sampler, number):
    sampler.set_epoch(number)
    return [
        (int(i), torch.cat([u, affine.flatten()]))
        for batch in loader
        for i, u, affine in zip(*(batch[key] for key in ("index", "augmentation", "canvas_from_stored")), strict=True)
    ]


def test_an_epoch_draws_the_same_whenever_and_by_whomever_it_is_drawn():
    ranges = {"noise": 0.1, "rotate": 5.0, "flip": 0.5}

    def loader(workers):
        dataset = Dataset(items(), Compose([AugmentRadiographd(seed=3, ranges=ranges)]))
        sampler = EpochSampler(dataset, seed=3)
        return DataLoader(dataset, workers, batch_size=2, sampler=sampler, collate_fn=collate_radiographs), sampler

    straight, resumed = loader(0), loader(1)
    first, second = epoch(*straight, 1), epoch(*straight, 2)
    again = epoch(*resumed, 2)  # another process, which never saw epoch 1
    assert [i for i, _ in second] == [i for i, _ in again]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(second, again, strict=True))
    assert [i for i, _ in first] != [i for i, _ in second]
    by_index = dict(first)
    assert not any(torch.equal(by_index[i], image) for i, image in second)


def test_uneven_sampling_gives_each_image_once():
    dataset = Dataset(items())
    assert sorted(EpochSampler(dataset, shuffle=False, even=False)) == list(range(7))
    assert math.isclose(len(EpochSampler(dataset)), 7)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_without_images_to_evaluate_is_refused_on_every_rank(monkeypatch, rank):
    for name, value in {"is_initialized": True, "get_world_size": 3, "get_rank": rank}.items():
        monkeypatch.setattr(torch.distributed, name, partial(int, value))
    with pytest.raises(ValueError, match=r"has 2 images for 3 processes.*at least 3 images, or start fewer"):
        EpochSampler(Dataset(items(2)), even=False)
    assert len(EpochSampler(Dataset(items(3)), even=False)) == 1
    assert len(EpochSampler(Dataset(items(2)))) == 1  # in training some repeat
