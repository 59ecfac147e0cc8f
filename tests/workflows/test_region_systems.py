"""Plain CLIP, Patch-CLIP with reports, Region-Aware MedCLIP, RegionMed-CLIP: trained, judged, stopped and packaged."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from bundle.export.package import package_bundle
from bundle.metrics.registry import unregistered
from tests.tiny import FINDINGS, write_dicom
from tests.tiny_bert import write_tiny_bert
from tests.workflows.conftest import ROOT, TINY, Place
from tests.workflows.test_resume import weights
from tests.workflows.test_two_processes import TORCHRUN

STILL = dict.fromkeys(("rotate", "scale", "translate", "contrast", "gamma", "noise"), 0.0)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A place in which plain CLIP has been trained: the teacher."""
    place = Place(tmp_path_factory.mktemp("taught"))
    place.output = place.run("training", "train", "plain_clip", ckpt_dir=place.models / "plain_clip")
    return place


def same(one, other):
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    assert len(tensors) > 20
    return all(torch.equal(one[name], other[name]) for name in tensors)


def moved(one, other, part):
    names = [name for name in one if name.startswith(part) and isinstance(one[name], torch.Tensor)]
    assert names
    return any(not torch.equal(one[name], other[name]) for name in names)


@pytest.mark.slow
def test_plain_clip_trains_and_is_judged_by_its_saliency(taught):
    for term in ("loss/report", "loss/total"):
        assert term in taught.output
    assert "loss/patch" not in taught.output
    where = {"ckpt_dir": taught.models / "plain_clip", "output_dir": taught.eval / "plain_clip", "replicates": 20}
    taught.run("evaluating", "train", "plain_clip", "evaluate", "saliency_maps", **where)
    metrics = taught.metrics(taught.eval / "plain_clip")
    assert metrics["auroc/mean"] is not None
    assert metrics["froc/mean/sens_at_1fp"] is not None


@pytest.mark.slow
def test_patch_clip_reads_reports_too(place):
    output = place.run("training", "train", "patch_clip_reports")
    for term in ("loss/global", "loss/patch", "loss/sparse", "loss/report", "loss/total"):
        assert term in output


@pytest.mark.slow
def test_region_aware_medclip_with_a_teacher_that_aligns_regions(taught, tmp_path):
    more = {"teacher_weights": taught.models / "plain_clip" / "model.pt", "teacher#view": "roi_align"}
    output = taught.run("training", "train", "region_aware_medclip", ckpt_dir=tmp_path, **more)
    for term in ("loss/report", "loss/region", "loss/negative", "loss/distillation", "loss/total"):
        assert term in output


@pytest.mark.slow
def test_region_aware_medclip_resumes_with_its_teacher(taught, tmp_path):
    # without augmentation, so that what the teacher sees is kept
    more = {"teacher_weights": taught.models / "plain_clip" / "model.pt", "augmentation": STILL}
    configs = ("train", "region_aware_medclip")
    taught.run("training", *configs, ckpt_dir=tmp_path / "whole", max_epochs=3, **more)
    taught.run("training", *configs, ckpt_dir=tmp_path / "parts", max_epochs=2, **more)
    output = taught.run("training", *configs, ckpt_dir=tmp_path / "parts", max_epochs=3, **more)
    assert "Resuming after epoch 2 of 3" in output
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    other = {**more, "teacher_weights": tmp_path / "whole" / "model.pt"}
    with pytest.raises(AssertionError, match=r"last\.pt learnt from .*teacher"):
        taught.run("training", *configs, ckpt_dir=tmp_path / "parts", max_epochs=4, **other)
    taught.run(
        "evaluating", *configs, "evaluate", ckpt_dir=tmp_path / "whole", output_dir=tmp_path / "eval", replicates=20
    )  # needs no teacher
    metrics = taught.metrics(tmp_path / "eval")
    assert metrics["froc/mean/sens_at_1fp"] is not None
    assert unregistered(metrics) == []


@pytest.mark.slow
def test_a_missing_teacher_is_an_error_that_says_what_to_do(place):
    with pytest.raises(AssertionError, match=r"No teacher at .*Train one first, such as plain CLIP"):
        place.run("training", "train", "region_aware_medclip", teacher_weights=place.folder / "none.pt")


@pytest.mark.slow
def test_regionmed_clip_killed_in_its_second_stage_goes_on_there(place):
    """Twelve epochs: the stages begin with the epochs 1, 5 and 9."""
    whole = place.folder / "whole"
    output = place.run("training", "train", "regionmed_clip", ckpt_dir=whole, max_epochs=12)
    assert [line.partition("Stage ")[2][:1] for line in output.splitlines() if " of 3, at epoch " in line] == [
        "1",
        "2",
        "3",
    ]
    for term in ("loss/report", "loss/region", "loss/negative"):
        assert term in output
    command = [sys.executable, *place.arguments("training", "train", "regionmed_clip", max_epochs=12)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=place.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    last, deadline = place.models / "last.pt", time.monotonic() + 300
    reached, first = 0, None
    while reached < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
        if last.is_file():
            reached = torch.load(last, weights_only=True)["epoch"]
            first = first or weights(place.models)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = torch.load(last, weights_only=True)["epoch"]
    assert 5 <= reached < 8
    output = place.run("training", "train", "regionmed_clip", max_epochs=12)
    assert f"Resuming after epoch {reached} of 12" in output
    assert f"Stage 2, 'region' of 3, at epoch {reached + 1}" in output
    assert same(weights(whole), weights(place.models))
    assert moved(first, weights(whole), "processor.")
    assert not any("teacher" in name for name in weights(whole))


@pytest.mark.slow
def test_regionmed_clip_on_two_processes(place):
    arguments = place.arguments("training", "train", "regionmed_clip", "multi_gpu_train", batch_size=2, max_epochs=3)
    output = place.execute([*TORCHRUN, *arguments])
    last = torch.load(place.models / "last.pt", weights_only=True)
    assert last["epoch"] == 3
    assert all(torch.isfinite(v).all() for v in last["network"].values() if isinstance(v, torch.Tensor))
    assert output.count("100% done") == 1


@pytest.mark.slow
def test_regionmed_clip_with_a_bert_is_judged_and_packaged(place):
    """With the overlay of MiniLM, another folder in the place of its own."""
    bert = write_tiny_bert(place.folder / "bert")
    text = {"tokenizer_folder": bert, "clip#text_encoder#context_length": 40}
    overlays = ("train", "minilm", "regionmed_clip")
    place.run("training", *overlays, max_epochs=3, **text)
    place.run("evaluating", *overlays, "evaluate", replicates=20, **text)
    assert place.metrics()["froc/mean/sens_at_1fp"] is not None
    names = [TINY if name == "tiny" else ROOT / "configs" / f"{name}.json" for name in ("train", "tiny", *overlays[1:])]
    where = {"output_dir": str(place.eval), "ckpt_dir": str(place.models), "dataset_dir": str(place.data)}
    (place.folder / "places.json").write_text(json.dumps({**where, "tokenizer_folder": str(bert)}))
    package = package_bundle([*names, place.folder / "places.json"], ROOT, place.folder / "package")
    network = json.loads((package / "configs" / "inference.json").read_text())["network_def"]
    assert network["_target_"] == "bundle.networks.RegionCLIP"
    assert network["fuse"] is True
    assert "texts" not in network
    (place.folder / "input").mkdir()
    write_dicom(place.folder / "input" / "a.dcm", np.random.default_rng(0).integers(0, 4096, (90, 140)))
    config = f"--config_file={package / 'configs' / 'inference.json'}"
    folders = [f"--bundle_root={package}", f"--dataset_dir={place.folder / 'input'}"]
    out = f"--output_dir={place.folder / 'out'}"
    place.execute([sys.executable, "-m", "monai.bundle", "run", "inferring", config, *folders, out])
    assert list(json.loads((place.folder / "out" / "a.json").read_text())["findings"]) == FINDINGS


@pytest.mark.parametrize(
    "name", ["plain_clip", "image_labels_only", "patch_clip_reports", "region_aware_medclip", "regionmed_clip"]
)
@pytest.mark.slow
def test_properties_are_complete(name, taught, tmp_path):
    files = [str(ROOT / "configs" / "train.json"), str(TINY), str(ROOT / "configs" / f"{name}.json")]
    where = {"dataset_dir": str(taught.data), "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path)}
    if name == "region_aware_medclip":
        where["teacher_weights"] = str(taught.models / "plain_clip" / "model.pt")
    if name == "regionmed_clip":
        where["max_epochs"] = 3
    workflow = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, **where)
    workflow.initialize()
    assert workflow.check_properties() == []
