"""metadata.json of a package has the figures of its own experiment, or none."""

import json

import pytest
from monai.bundle import ConfigParser

from bundle.export.packaged_configs import packaged_configs
from bundle.made_for import made_for
from bundle.metrics.records_io import save_records
from tests.checkout import ROOT
from tests.report.cases import made_records
from tests.tiny import FINDINGS

FIGURES = {"auroc/mean": 0.5, "froc/mean/score": 0.25}


@pytest.fixture
def evaluated(tmp_path):
    """A training's configuration, and the figures and records of its evaluation."""
    parser = ConfigParser()
    parser.read_config([str(ROOT / "configs" / "train.json"), str(ROOT / "tests" / "tiny.json")])
    parser.update({"dataset_dir": str(tmp_path), "output_dir": str(tmp_path)})
    (tmp_path / "datalist.json").write_text("{}")
    (tmp_path / "metrics.json").write_text(json.dumps({**FIGURES, "auroc/Mass": 0.5}))
    said = made_for(tmp_path / "datalist.json", "test", FINDINGS)
    save_records(made_records(), tmp_path / "records", made_for=said)
    return parser, tmp_path, said


def metadata(parser):
    return packaged_configs(parser, ROOT)["metadata.json"]


def test_its_own_figures_are_in_it(evaluated):
    assert metadata(evaluated[0])["eval_metrics"] == FIGURES


@pytest.mark.parametrize(
    "change", [{"section": ["validation"]}, {"findings": ["Mass"]}, {"datalist": "0" * 16}, None], ids=str
)
def test_figures_of_another_evaluation_are_not(evaluated, change, caplog):
    parser, folder, said = evaluated
    save_records(made_records(), folder / "records", made_for=None if change is None else said | change)
    assert "eval_metrics" not in metadata(parser)
    assert f"The figures in {folder} are left out of metadata.json" in caplog.text


@pytest.mark.parametrize("lost", ["records/records.json", "datalist.json"])
def test_figures_of_which_nobody_knows_are_not(evaluated, lost, caplog):
    parser, folder, _ = evaluated
    (folder / lost).unlink()
    assert "eval_metrics" not in metadata(parser)
    assert "are left out of metadata.json" in caplog.text


def test_without_an_evaluation_there_are_none(evaluated):
    parser, folder, _ = evaluated
    (folder / "metrics.json").unlink()
    assert "eval_metrics" not in metadata(parser)
    assert "eval_metrics" in json.loads((ROOT / "configs" / "metadata.json").read_text())  # of the demo


def test_the_downscalers_strides_go_with_the_package(evaluated):
    parser, _, _ = evaluated
    parser.update({"downscaler_strides": [1, 2], "image_size": 67})
    network = ConfigParser(packaged_configs(parser, ROOT)["inference.json"]).get_parsed_content("network_def")
    assert (network.downscaler.strides, network.downscaler.in_size) == ((1, 2), 67)
