"""Two real processes, uneven shards: the same numbers as one."""

import torch

from tests.forked_ranks import run_ranks
from tests.metrics.drawn import random_evaluation
from tests.metrics.ranks import evaluate, work

IMAGES = 23


def test_two_processes_give_the_numbers_of_one(tmp_path):
    without_lesions = [i for i, image in enumerate(random_evaluation(IMAGES)[1]) if (image["box_finding"] < 0).all()]
    with_lesions = [i for i in range(IMAGES) if i not in without_lesions]
    assert without_lesions
    every = list(range(IMAGES))
    shards = [
        [every[:17], every[17:]],  # uneven
        [with_lesions, without_lesions],  # one rank has no lesion
        [every[0::2], [*every[1::2], 0]],  # a padding sampler: image 0 on both ranks
        [every[0::2], [0, *every[1::2]]],  # and as the first of both
        [every, []],  # one rank has nothing at all
        [[], []],
    ]
    run_ranks(work, shards, IMAGES, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    alone = evaluate(every, IMAGES)
    assert len(alone["area"].unique()) == IMAGES
    for case in range(5):
        for rank in range(2):
            assert ranks[rank][case].keys() == alone.keys()
            for key, value in alone.items():
                assert torch.equal(ranks[rank][case][key].nan_to_num(-7), value.nan_to_num(-7)), (case, rank, key)
    assert all(rank[5]["froc"].isnan() for rank in ranks)
