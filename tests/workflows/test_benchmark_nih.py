"""configs/benchmark_nih.json from NIH's tables to the pooled result, on tiny data."""

import json

import pytest
from monai.bundle import ConfigParser

from bundle.data.datalist import datalist_section
from tests.nih_files import write_small_set
from tests.tiny import FINDINGS
from tests.workflows.conftest import ROOT, Place

FOLDS = 5


def config_of(*names, **overrides):
    parser = ConfigParser()
    parser.read_config([str(ROOT / "configs" / f"{name}.json") for name in names])
    parser.update(overrides)
    return parser


@pytest.mark.parametrize("fold", range(FOLDS))
def test_each_fold_is_judged_once_and_never_trained_on(fold):
    training = config_of("train", "benchmark_nih", fold=fold)
    judging = config_of("train", "benchmark_nih", "evaluate", fold=fold)
    learnt = training.get_parsed_content("train#dataset#data#section")
    chosen = training.get_parsed_content("validate#dataset#data#section")
    judged = judging.get_parsed_content("validate#dataset#data#section")
    assert judged == f"fold_{fold}"
    assert sorted([*learnt, chosen, judged]) == [f"fold_{n}" for n in range(FOLDS)]
    assert training.get_parsed_content("ckpt_dir").endswith(f"models/nih/fold_{fold}")
    assert judging.get_parsed_content("output_dir").endswith(f"eval/nih/fold_{fold}")


@pytest.mark.parametrize("fold", range(FOLDS))
def test_methods_are_planned_on_the_next_fold_and_compared_on_this_one(fold):
    config = config_of("train", "benchmark_nih", "evaluate", "compare", fold=fold, image_dir="images")
    for part, section in (("planning", f"fold_{(fold + 1) % FOLDS}"), ("validate", f"fold_{fold}")):
        assert config.get_parsed_content(f"{part}#dataset#data#section") == section
        assert config.get_parsed_content(f"{part}#dataset#data#base_dir") == "images"
    assert config["comparison"]["validation"] == "@planning::dataloader"
    assert config["comparison"]["test"] == "@validate::dataloader"


def test_a_comparison_looks_where_the_trainings_of_its_fold_leave_things():
    comparing = config_of("train", "benchmark_nih", "evaluate", "compare", fold=3)
    ours = config_of("train", "benchmark_nih", fold=3)
    without_boxes = config_of("train", "benchmark_nih", "image_labels_only", fold=3)
    detector = config_of("train", "benchmark_nih", "detector", "evaluate", fold=3)
    weights = comparing.get_parsed_content("comparison#files#weights")
    assert weights == ours.get_parsed_content("ckpt_path") == "./models/nih/fold_3/model.pt"
    assert comparing.get_parsed_content("other#weights") == without_boxes.get_parsed_content("ckpt_path")
    assert comparing.get_parsed_content("plan_file") == "./models/nih/fold_3/plan.json"
    records = detector.get_parsed_content("output_dir") + "/records"
    assert comparing.get_parsed_content("detector_records") == records
    folders = [each.get_parsed_content("ckpt_dir") for each in (ours, without_boxes, detector)]
    assert len(set(folders)) == 3


def test_other_trainings_have_the_sections_and_folders_of_always():
    config = config_of("train", "evaluate", "compare")
    for part, section in (("train", "training"), ("planning", "validation"), ("validate", "test")):
        assert config.get_parsed_content(f"{part}#dataset#data#section") == section
        assert config.get_parsed_content(f"{part}#dataset#data#base_dir") is None
    assert config.get_parsed_content("other_ckpt_path") == "./models/image_labels_only/model.pt"
    assert config.get_parsed_content("detector_records") == "./eval/detector/records"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A place in which fold 0 of a small set was trained and judged, its folders as the configs have them."""
    folder = tmp_path_factory.mktemp("nih")
    images, tables = write_small_set(folder / "download")
    place = Place(folder / "runs")
    datalist = folder / "lists" / "datalist.json"
    prepare = [f"--images={images}", f"--output={datalist}", f"--tables={tables}", "--benchmark"]
    place.output = place.script("prepare_datalist", "nih", *prepare)
    place.items = [datalist_section(datalist, f"fold_{n}", FINDINGS, base_dir=images) for n in range(FOLDS)]
    place.where = {"bundle_root": place.folder, "output_dir": None, "ckpt_dir": None, "fold": 0, "image_dir": images}
    place.where["dataset_dir"] = datalist.parent
    place.run("training", "train", "benchmark_nih", max_epochs=1, **place.where)
    place.run("evaluating", "train", "benchmark_nih", "evaluate", replicates=20, **place.where)
    return place


@pytest.mark.slow
def test_from_the_tables_to_the_pooled_result(judged):
    assert "all: 50 images of 50 patients; 25 boxes on 25 images (Effusion 13, Mass 12)" in judged.output
    assert {path.name for path in (judged.models / "nih" / "fold_0").iterdir()} >= {"last.pt", "model.pt"}
    results = judged.eval / "nih" / "fold_0"
    assert "NIH ChestX-ray14" in (results / "report.html").read_text()
    lesions = sum(len(item["boxes"]) for item in judged.items[0])
    metrics = judged.metrics(results)
    assert metrics["n_images/Mass"] == len(judged.items[0])
    assert metrics["n_lesions/Mass"] + metrics["n_lesions/Effusion"] == lesions

    judged.script("pool_folds", judged.eval / "nih", "--folds=1", "--replicates=20")
    pooled = judged.metrics(judged.eval / "nih")
    counts = {key: pooled.pop(key) for key in list(pooled) if key.startswith("pool/")}
    assert list(counts.values()) == [1, len(judged.items[0]), lesions, len(judged.items[0])]
    # the pool of one fold is that fold, but for its subgroups
    assert pooled == {key: value for key, value in metrics.items() if not key.startswith("subgroup/")}
    assert {"ap/mean", "calibration/mean/ece", "froc/mean/score", "auroc/mean"} <= pooled.keys()


@pytest.mark.slow
def test_methods_are_compared_on_one_fold(judged):
    results = judged.eval / "nih" / "fold_0"
    judged.run("training", "train", "benchmark_nih", "image_labels_only", max_epochs=1, **judged.where)
    zero_shot = {"fluid": {"finding": "Effusion", "positive": ["fluid"], "negative": ["no fluid"]}}
    configs = ("train", "benchmark_nih", "evaluate", "compare")
    settings = {**judged.where, "output_dir": results / "comparison", "zero_shot": json.dumps(zero_shot)}
    output = judged.run("evaluating", *configs, replicates=20, **settings)
    assert f"there are no records at {results / 'detector' / 'records'}" in output
    plan = json.loads((judged.models / "nih" / "fold_0" / "plan.json").read_text())
    assert plan["images"] == len(judged.items[1])
    compared = json.loads((results / "comparison" / "comparison.json").read_text())
    assert compared["n_images/Mass"] == len(judged.items[0])
    assert "compare/Grad-CAM, trained without boxes/mean/sens_at_1fp/difference" in compared
    notes = json.loads((results / "comparison" / "notes.json").read_text())
    assert notes["retrieval"] == "no image has a report"
