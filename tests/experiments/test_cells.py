"""Settings of trainings that run in this process: which are refused, which cells are of the same, what is seeded."""

import json

import pytest
from monai.data import Dataset
from monai.transforms import Compose

from bundle.experiments.label_efficiency import LabelEfficiency
from bundle.experiments.systems import SystemsComparison
from bundle.experiments.workflow import cell_settings, keep_settings, reseed
from bundle.transforms import AugmentRadiographd, FitToCanvasd, KeepBoxesd
from tests.tiny import write_tiny_data
from tests.workflows.conftest import ROOT


def test_a_misspelt_override_is_refused(tmp_path):
    files = [ROOT / "configs" / name for name in ("train.json", "demo.json", "minilm.json")]
    SystemsComparison(files, ROOT / "configs", tmp_path, overrides={"max_epochs": 3, "vqa_dir": "x"})
    with pytest.raises(ValueError, match=r"Unknown overrides \['max_epoch'\]"):
        SystemsComparison(files, ROOT / "configs", tmp_path, overrides={"max_epoch": 3})


@pytest.mark.parametrize("key", ["seed", "replicates"])
def test_what_every_cell_sets_itself_is_refused(tmp_path, key):
    files = [ROOT / "configs" / "train.json"]
    with pytest.raises(ValueError, match=f"{key}.*no effect"):
        SystemsComparison(files, ROOT / "configs", tmp_path, overrides={key: 9})
    with pytest.raises(ValueError, match=f"{key}.*no effect"):
        LabelEfficiency(files, [ROOT / "configs" / "evaluate.json"], tmp_path, [1.0], [0], {key: 9})


def test_too_few_epochs_for_the_stages_are_refused_before_anything_is_trained(tmp_path):
    files = [ROOT / "configs" / name for name in ("train.json", "demo.json", "minilm.json")]
    with pytest.raises(ValueError, match="Stage 2, 'region' begins with epoch 1, not after 'global'"):
        SystemsComparison(files, ROOT / "configs", tmp_path, overrides={"max_epochs": 2})


def test_a_cell_of_other_settings_or_data_is_refused(tmp_path):
    write_tiny_data(tmp_path / "data")
    files = [str(ROOT / "configs" / "train.json"), str(ROOT / "tests" / "tiny.json")]
    cell = tmp_path / "cell"

    def settings(**overrides):
        return cell_settings(files, {"dataset_dir": str(tmp_path / "data"), **overrides}, vqa_epochs=2)

    keep_settings(cell, settings(max_epochs=3))
    kept = (cell / "settings.json").read_bytes()
    keep_settings(cell, settings(max_epochs=3))
    with pytest.raises(ValueError, match=r"override max_epochs: then 3, now 4\. Give another `output`"):
        keep_settings(cell, settings(max_epochs=4))
    with pytest.raises(ValueError, match="override max_epochs: then 3, now None"):
        keep_settings(cell, settings())
    (tmp_path / "data").rename(tmp_path / "moved")
    files_there = settings(max_epochs=3, dataset_dir=str(tmp_path / "moved"))
    keep_settings(cell, files_there)  # the same data elsewhere
    datalist = tmp_path / "moved" / "datalist.json"
    datalist.write_text(json.dumps(json.loads(datalist.read_text()) | {"description": "others"}))
    with pytest.raises(ValueError, match="made otherwise: datalist: then"):
        keep_settings(cell, settings(max_epochs=3, dataset_dir=str(tmp_path / "moved")))
    assert (cell / "settings.json").read_bytes() == kept
    with pytest.raises(FileNotFoundError, match=r"no datalist at .*set dataset_dir"):
        settings(max_epochs=3)
    (cell / "settings.json").unlink()
    (cell / "last.pt").touch()
    with pytest.raises(ValueError, match=r"has no settings\.json"):
        keep_settings(cell, files_there)


def test_a_kept_dataset_draws_by_the_seed_of_its_cell():
    steps = [FitToCanvasd(size=8), AugmentRadiographd(seed=1), KeepBoxesd(fraction=0.5, seed=1)]
    reseed(Dataset([], Compose(steps)), 7)
    assert [getattr(step, "seed", None) for step in steps] == [None, 7, 7]
