"""configs/benchmark_nih.json from NIH's tables to the pooled result, on tiny data."""

import sys

import pytest
from monai.bundle import ConfigParser

from bundle.data.datalist import datalist_section
from tests.nih_files import write_small_set
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


def test_other_trainings_are_judged_on_the_test_section():
    assert config_of("train", "evaluate").get_parsed_content("validate#dataset#data#section") == "test"


@pytest.mark.slow
def test_from_the_tables_to_the_pooled_result(tmp_path):
    images, tables = write_small_set(tmp_path / "download")
    place = Place(tmp_path / "runs")
    datalist, results = tmp_path / "lists" / "datalist.json", place.eval / "fold_0"
    prepare = [f"--images={images}", f"--output={datalist}", f"--tables={tables}", "--benchmark"]
    output = place.execute([sys.executable, "-m", "scripts.prepare_datalist", "nih", *prepare], cwd=ROOT)
    assert "all: 50 images of 50 patients; 25 boxes on 25 images (Effusion 13, Mass 12)" in output

    where = {"dataset_dir": datalist.parent, "image_dir": images, "output_dir": results}
    place.run("training", "train", "benchmark_nih", fold=0, max_epochs=1, **where)
    assert {path.name for path in place.models.iterdir()} == {"last.pt", "model.pt"}
    place.run("evaluating", "train", "benchmark_nih", "evaluate", fold=0, replicates=20, **where)
    assert "NIH ChestX-ray14" in (results / "report.html").read_text()
    items = datalist_section(datalist, "fold_0", findings=["Effusion", "Mass"], base_dir=images)
    lesions = sum(len(item["boxes"]) for item in items)
    metrics = place.metrics(results)
    assert metrics["n_images/Mass"] == len(items)
    assert metrics["n_lesions/Mass"] + metrics["n_lesions/Effusion"] == lesions

    pool = [str(place.eval), "--folds=1", "--replicates=20"]
    place.execute([sys.executable, "-m", "scripts.pool_folds", *pool], cwd=ROOT)
    pooled = place.metrics()
    counts = {key: pooled.pop(key) for key in list(pooled) if key.startswith("pool/")}
    assert list(counts.values()) == [1, len(items), lesions, len(items)]
    assert len(pooled) > 50
    assert pooled.items() <= metrics.items()  # the pool of one fold is that fold
