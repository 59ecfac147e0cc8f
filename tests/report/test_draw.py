"""The report drawn again from what an evaluation left: no model, no image."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.atomic import write_json
from bundle.comparison.outcome import Outcome, read_outcome, write_outcome
from bundle.metrics import by_size, save_records, summarise
from bundle.metrics.image_level import choose_operating_points, summarise_images
from bundle.metrics.paired import compare
from scripts import redraw_report, show_metrics
from tests.report.cases import FINDINGS, made_records

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"ours": 0, "theirs <b>": 1}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an evaluation with a comparison leaves it."""
    folder = tmp_path_factory.mktemp("left")
    records = made_records()
    points = choose_operating_points(made_records(seed=5), "image")
    metrics, notes = summarise(records, 20)
    more, more_notes = summarise_images(records, points, 20)
    sizes, size_notes = by_size(records, 20)
    save_records(records, folder / "records")
    write_json(folder / "metrics.json", metrics | more | sizes)
    write_json(folder / "notes.json", more_notes | size_notes | notes | {"description": "Simulated for a test."})
    write_json(folder / "plan.json", {"points": points})
    write_json(folder / "datalist.json", {"findings": [*FINDINGS, "Another"]})
    figures, why = compare(dict.fromkeys(METHODS, records), "ours", 20)
    methods = {name: {"supervision": "none", "setting": "floor 0.1", "folder": "x"} for name in METHODS}
    write_outcome(Outcome(figures, why, methods, "ours"), folder)
    return folder


def test_the_outcome_is_read_back_as_it_was(left: Path) -> None:
    outcome = read_outcome(left)
    assert outcome is not None
    assert outcome.reference == "ours"
    assert list(outcome.methods) == list(METHODS)
    assert outcome.metrics["compare/theirs <b>/mean/sens_at_1fp/difference"] == 0  # the same records
    assert read_outcome(left / "records") is None


def test_the_script_draws_page_and_figures(left: Path) -> None:
    files = [f"--plan={left / 'plan.json'}", f"--datalist={left / 'datalist.json'}"]
    command = [sys.executable, "-m", "scripts.redraw_report", str(left), *files]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=left, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (left / "redrawn" / "report.html").read_text()
    for title in (
        "By lesion size",
        "Comparison with other methods",
        "Operating points and calibration",
        "Simulated images.",
    ):
        assert title in page
    assert "n = 12, ceiling 1.00" in page
    assert "theirs &lt;b&gt;" in page
    assert "theirs <b>" not in page
    for name in ("comparison", "reliability", "froc", "size"):
        assert (left / "redrawn" / "figures" / f"{name}.png").stat().st_size > 5000


def test_the_script_leaves_out_a_comparison_of_other_data(
    left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(left, tmp_path / "left")
    save_records(made_records(), tmp_path / "left" / "records", made_for={"datalist": "abc"})
    redraw_report.main(str(tmp_path / "left"), replicates=0)
    assert "Comparison with other methods" not in (tmp_path / "left" / "redrawn" / "report.html").read_text()
    assert "the comparison is left out, it was made for None, the evaluation for {'datalist': 'abc'}" in (
        capsys.readouterr().out
    )


def test_the_script_refuses_findings_that_the_datalist_does_not_know(left: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "datalist.json", {"findings": FINDINGS[:2]})
    with pytest.raises(ValueError, match=r"the records hold \['Nodule'\], but the datalist knows"):
        redraw_report.main(str(left), str(tmp_path / "out"), datalist=str(tmp_path / "datalist.json"))
    assert not (tmp_path / "out").exists()


def test_the_main_figures_are_shown_with_those_by_size(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((left / "metrics.json").read_text())
    show_metrics.main(str(left / "metrics.json"))
    rows = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    value = metrics["froc/mean/size_mid/sens_at_1fp"]
    findings = sum(metrics[f"n_lesions/{name}/size_mid"] > 0 for name in FINDINGS)
    row = rows[f"mean of {findings} findings, one to four patches"]
    assert f"{value:.3f} (" in row
    assert row.split()[-2:] == ["1.00", "20"]
    assert rows["mean of 0 findings, larger"].split()[5:] == ["no", "lesions", "0"]
