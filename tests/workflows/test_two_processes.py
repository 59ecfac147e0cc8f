"""torchrun on two CPU processes: the same figures from one checkpoint, finite training, one writer."""

import sys

import pytest
import torch

from tests.workflows.conftest import Place

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.mark.slow
def test_evaluating_on_two_processes_gives_the_figures_of_one(trained, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    trained.run("evaluating", "train", "evaluate", output_dir=one, replicates=20)
    arguments = trained.arguments(
        "evaluating", "train", "multi_gpu_train", "evaluate", output_dir=two, replicates=20, batch_size=2
    )  # five images: one rank has three, the other two
    trained.execute([*TORCHRUN, *arguments])
    single, double = trained.metrics(one), trained.metrics(two)
    assert single.keys() == double.keys()
    for key, value in single.items():
        assert double[key] == (None if value is None else pytest.approx(value, abs=1e-6)), key


@pytest.mark.slow
def test_training_on_two_processes_is_finite_and_one_writes(tmp_path):
    place = Place(tmp_path)
    output = place.execute([*TORCHRUN, *place.arguments("training", "train", "multi_gpu_train", batch_size=2)])
    last = torch.load(place.models / "last.pt", weights_only=True)
    assert last["epoch"] == 2
    assert all(torch.isfinite(v).all() for v in last["network"].values() if isinstance(v, torch.Tensor))
    assert output.count("100% done") == 1  # one voice
    assert {p.name for p in place.models.iterdir()} == {"last.pt", "model.pt"}
