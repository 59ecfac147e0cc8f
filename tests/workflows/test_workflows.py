"""Every config runs, end to end, on tiny data; what it leaves is what the documentation says."""

import json
import sqlite3
import sys

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from pydicom import dcmread

from bundle.export.package import package_bundle
from bundle.fingerprint import file_fingerprint
from bundle.frozen_plan import write_plan
from bundle.metrics.records_io import records_made_for
from tests.deadly import deadly
from tests.tiny import FINDINGS, write_dicom, write_tiny_data
from tests.workflows.conftest import ROOT, SECRETS, TINY, planted_in


def test_training_leaves_checkpoints_and_logs_named_terms(trained):
    assert {p.name for p in trained.models.iterdir()} >= {"last.pt", "model.pt", "pretrain"}
    for term in ("loss/global", "loss/pooled", "loss/patch", "loss/sparse", "loss/image", "loss/total", " left:"):
        assert term in trained.output
    last = torch.load(trained.models / "last.pt", weights_only=True)
    assert last["epoch"] == 2


def test_tracking_holds_terms_metrics_config_and_no_patient(trained):
    database = trained.eval / "mlruns.db"
    with sqlite3.connect(database) as connection:
        runs = connection.execute("select status from runs").fetchall()
        names = {row[0] for row in connection.execute("select distinct key from metrics")}
    assert runs == [("FINISHED",)]
    assert {"loss/patch", "loss/total", "froc", "auroc"} <= names
    files = [p for p in (trained.eval / "mlruns").rglob("*") if p.is_file()]
    assert any(p.name == "config.json" for p in files)
    assert any(p.name == "model.pt" for p in files)
    assert planted_in(trained.eval) == []


def test_a_finished_training_says_so_and_does_nothing(trained):
    before = (trained.models / "last.pt").stat().st_mtime_ns
    output = trained.run("training", "train")
    assert "Nothing to do: this training finished (2 of 2 epochs)" in output
    assert (trained.models / "last.pt").stat().st_mtime_ns == before


def test_evaluating_writes_metrics_report_and_records(trained):
    output = trained.run("run", "train", "evaluate", replicates=50)  # plain `run` too
    metrics = trained.metrics()
    for key in ("auroc/mean", "froc/mean/sens_at_1fp", "froc/mean/sens_at_0.125fp", "froc/mean/score", "wafroc/mean"):
        assert key in metrics, key
    for finding in FINDINGS:
        assert metrics[f"n_images/{finding}"] == 5
        assert metrics[f"n_lesions/{finding}"] > 0
        assert f"froc/{finding}/oracle" in metrics
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())
    assert (trained.eval / "report.html").is_file()
    assert (trained.eval / "records" / "records.json").is_file()
    assert planted_in(trained.eval, trained.models) == []
    assert not any(secret.decode() in trained.output + output for secret in SECRETS)


def test_another_machines_images_are_judged_by_the_frozen_plan(trained):
    arguments = {"replicates": 0, "gallery": 2, "output_dir": trained.folder / "plain"}
    plan = trained.models / "plan.json"
    with pytest.raises(AssertionError, match=r"There is no plan at .*plan\.json"):
        trained.run("evaluating", "train", "evaluate", "frozen_plan", "other_machine", **arguments)
    point = {"slope": 1.0, "offset": 0.0, "youden": 0.0, "box": 0.0}
    content = {
        "candidates": {"floor": 0.001, "smoothing": 0.0, "box_fraction": 0.5, "max_candidates": 3},
        "points": dict.fromkeys(FINDINGS, point),
        "score": "image",
    }
    made_for = {"weights": file_fingerprint(trained.models / "model.pt"), "findings": FINDINGS}
    write_plan(plan, {**made_for, "image_score": {"weights": "learned"}}, content)
    try:
        trained.run("evaluating", "train", "evaluate", **arguments)
        elsewhere = {**arguments, "dataset_dir": write_tiny_data(trained.folder / "elsewhere", seed=1).parent}
        elsewhere["output_dir"] = trained.folder / "external"
        trained.run("evaluating", "train", "evaluate", "frozen_plan", **elsewhere)
        trained.run("evaluating", "train", "evaluate", "frozen_plan", "other_machine", **arguments)
    finally:
        plan.unlink()
    plain, other = (
        trained.metrics(folder) for folder in (trained.folder / "plain", trained.folder / "plain" / "other_machine")
    )
    external = trained.metrics(trained.folder / "external")
    assert external["ece/mean"] is not None
    assert external["shown/sensitivity"] is not None
    assert 0 <= other["shown/sensitivity"] <= 1
    judged = records_made_for(trained.folder / "plain" / "other_machine" / "records")
    assert judged["section"] == ["test", "by another machine"]  # no other run takes them for the plain ones
    assert other["shown/false_marks_per_image"] > 0
    assert not any(key.startswith("shown/") for key in plain)
    assert [other[f"n_lesions/{finding}"] for finding in FINDINGS] == [
        plain[f"n_lesions/{finding}"] for finding in FINDINGS
    ]
    assert other["froc/mean/score"] != plain["froc/mean/score"] or other["auroc/mean"] != plain["auroc/mean"]


def test_package_and_inference_stand_alone(trained, tmp_path):
    configs = [ROOT / "configs" / "train.json", TINY, tmp_path / "places.json"]
    where = {"output_dir": str(trained.eval), "ckpt_dir": str(trained.models), "dataset_dir": str(trained.data)}
    configs[-1].write_text(json.dumps({**where, "reading#value_range": [0, 4000]}))
    package = package_bundle(configs, ROOT, tmp_path / "package")
    (tmp_path / "input" / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    first = write_dicom(tmp_path / "input" / "a.dcm", rng.integers(0, 4096, (90, 140)))
    write_dicom(tmp_path / "input" / "sub" / "a.dcm", rng.integers(0, 4096, (140, 90)))
    (tmp_path / "input" / "deadly.dcm").write_bytes(deadly(first.read_bytes()))
    (tmp_path / "elsewhere").mkdir()
    command = [
        sys.executable,
        *["-m", "monai.bundle", "run", "inferring", f"--config_file={package / 'configs' / 'inference.json'}"],
        *[f"--bundle_root={package}", f"--dataset_dir={tmp_path / 'input'}", f"--output_dir={tmp_path / 'out'}"],
    ]
    output = trained.execute(command, cwd=tmp_path / "elsewhere")
    written = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert [n for n in written if n.endswith(".json")] == ["a.json", "a.json", "unreadable.json"]
    (left_out,) = json.loads((tmp_path / "out" / "unreadable.json").read_text())
    assert left_out["file"] == "deadly.dcm"
    assert "the decoder's process was ended by SIGABRT" in left_out["reason"]
    assert len([n for n in written if n.endswith("_overlay.png")]) == 2
    assert len([n for n in written if n.endswith("_map.nii.gz")]) == 2
    result = json.loads((tmp_path / "out" / "a.json").read_text())
    assert list(result["findings"]) == FINDINGS
    assert result["reading"]["window"] == {"kind": "stated", "low": 0.0, "high": 4000.0}  # as in the training
    assert result["reading"]["options"]["value_range"] == [0, 4000]
    assert planted_in(package, tmp_path / "out") == []
    assert not any(secret.decode() in output for secret in SECRETS)
    assert dcmread(first).PatientID == "SECRET-ID"


@pytest.mark.parametrize(
    ("kind", "configs"),
    [("train", ["train"]), ("train", ["pretrain"]), ("train", ["train", "evaluate"]), ("infer", ["inference"])],
)
def test_properties_are_complete(kind, configs, trained, tmp_path):
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in" / "a.dcm", np.full((60, 60), 7))
    inference = {"dataset_dir": str(tmp_path / "in"), "clip::vision::num_hidden_layers": 1}
    training = {"dataset_dir": str(trained.data), "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path)}
    names = [str(ROOT / "configs" / f"{name}.json") for name in configs]
    workflow = ConfigWorkflow(
        config_file=names if kind == "infer" else [names[0], str(TINY), *names[1:]],
        workflow_type=kind,
        logging_file=False,
        **(inference if kind == "infer" else training),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_unknown_override_is_refused_with_a_suggestion(place):
    with pytest.raises(AssertionError, match=r"val_intervall.*val_interval"):
        place.run("training", "train", val_intervall=5)
