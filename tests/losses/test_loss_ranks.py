"""Two real processes under DistributedDataParallel: the losses and gradients of one with all images."""

import pytest
import torch

from tests.forked_ranks import run_ranks
from tests.losses.ranks import WEIGHTS, Towers, images, train_once, work

# images 0, 2, 3 and 5 have three, two, one and one regions, the others none
SHARDS = [
    [[0, 1, 2], [3, 4, 5]],
    [[0, 1, 2, 3], [4, 5]],  # uneven numbers of images
    [[0, 2, 3, 5], [1, 4]],  # a rank without any region
    [[1, 4], [5, 0]],  # and as the first
    [[1], [4]],  # no region at all
    [[3], [4]],  # one region
    [[3], [5]],  # two regions, one caption
]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(work, SHARDS, str(folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("weights", range(len(WEIGHTS)), ids=["+".join(w) for w in WEIGHTS])
@pytest.mark.parametrize("case", range(len(SHARDS)), ids=[str(s) for s in SHARDS])
def test_two_processes_give_the_losses_and_gradients_of_one(ranks, case, weights):
    alone = train_once([image for shard in SHARDS[case] for image in shard], WEIGHTS[weights])
    for rank in ranks:
        found = rank["losses"][case][weights]
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-12, msg=f"{name}: {found[name]} {value}")


def test_the_cases_are_what_they_say():
    assert images()["region_valid"].sum(1).tolist() == [3, 0, 2, 1, 0, 1]
    whole = [train_once(list(range(6)), weights) for weights in WEIGHTS]
    assert all(w["loss"].min() > 0.1 and w["log_scale"].abs() > 1e-3 for w in whole)


def test_rows_of_all_ranks_in_order_and_the_sum_of_their_gradients(ranks):
    for rank, rows in ((0, 2), (1, 0)):
        found = ranks[rank]["gather"]
        assert found["rows"].tolist() == [[0, 1], [2, 3]]
        assert found["ids"].tolist() == [8, 9]
        assert found["gradient"].tolist() == [[3, 3], [3, 3]][:rows]  # 1 of rank 0 and 2 of rank 1
        assert len(found["left"]) == rows


def test_a_rank_contrasts_its_own_rows_with_all_and_sends_no_equal_gradients(ranks):
    for rank, (reports, summaries) in enumerate(((3, 1), (2, 2))):
        found = ranks[rank]["contrast"]
        assert found["logits"] == [(reports, 5)] * 2 + [(summaries, 3)] * 2  # never 5 x 5
        # of embeddings of 6 numbers, for each of two ranks, as many rows as the longer one has: partial gradients
        assert found["sent"] == {"all_reduce": 2, "reduce_scatter_single": 2 * 2 * (3 + 2) * 6}
        assert found["gradients"] == sum(p.numel() for p in Towers().parameters())  # once each: docs/scaling.md
