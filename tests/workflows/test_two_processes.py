"""torchrun on two CPU processes: the same figures from one checkpoint, finite training, one writer."""

import json
import sys

import pytest
import torch
from mlflow import MlflowClient

from tests.small_training import ended, same
from tests.workflows.conftest import ROOT, Place

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.mark.slow
def test_evaluating_and_comparing_on_two_processes_gives_the_figures_of_one(trained, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    settings = {"replicates": 20, "zero_shot": "{}", "other_ckpt_path": trained.models / "model.pt"}
    trained.run("evaluating", "train", "evaluate", "compare", output_dir=one, plan_file=one / "plan.json", **settings)
    overlays = ("multi_gpu_train", "evaluate", "compare")
    arguments = trained.arguments(
        "evaluating", "train", *overlays, output_dir=two, plan_file=two / "plan.json", batch_size=2, **settings
    )  # five images: one rank has three, the other two
    trained.execute([*TORCHRUN, *arguments])
    for file in ("metrics.json", "comparison.json"):
        single, double = (json.loads((folder / file).read_text()) for folder in (one, two))
        assert single.keys() == double.keys()
        for key, value in single.items():
            if ", " in key:
                continue  # "Grad-CAM, Patch-CLIP" and the like: gradients round otherwise in batches of another size
            assert double[key] == (None if value is None else pytest.approx(value, abs=1e-6)), key


@pytest.mark.slow
def test_training_on_two_processes_is_finite_and_one_writes(tmp_path):
    place = Place(tmp_path)
    output = place.execute([*TORCHRUN, *place.arguments("training", "train", "multi_gpu_train", batch_size=2)])
    last = torch.load(place.models / "last.pt", weights_only=True)
    assert last["epoch"] == 2
    assert all(torch.isfinite(v).all() for v in last["network"].values() if isinstance(v, torch.Tensor))
    assert output.count("100% done") == 1  # one voice
    assert {p.name for p in place.models.iterdir()} == {"last.pt", "last_but_one.pt", "model.pt"}
    more = {"batch_size": 2, "shard_optimizer": True, "ckpt_dir": tmp_path / "shared"}
    tracked = {"tracking": ROOT / "configs" / "tracking_mlflow.json", "output_dir": tmp_path / "tracked"}
    place.execute([*TORCHRUN, *place.arguments("training", "train", "multi_gpu_train", **more, **tracked)])
    (last, model), (shared_last, shared_model) = ended(place.models), ended(tmp_path / "shared")
    assert last.pop("tracked_run") is None
    assert shared_last.pop("tracked_run") is not None
    assert same([shared_last, shared_model], [last, model])  # to the bit, the optimizer's states too
    client = MlflowClient(f"sqlite:///{tmp_path / 'tracked' / 'mlruns.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("patch_clip").experiment_id])
    assert (run.info.status, run.data.params["processes"]) == ("FINISHED", "2")
