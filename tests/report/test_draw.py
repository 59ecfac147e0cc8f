"""The report drawn again from what an evaluation left: no model, no image."""

import subprocess
import sys
from pathlib import Path

import pytest

from bundle.atomic import write_json
from bundle.comparison.outcome import Outcome, read_outcome, write_outcome
from bundle.metrics import save_records, summarise
from bundle.metrics.image_level import choose_operating_points, summarise_images
from bundle.metrics.paired import compare
from tests.report.cases import GRID, SIDE, made_records

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
    save_records(records, folder / "records")
    write_json(folder / "metrics.json", metrics | more)
    write_json(folder / "notes.json", more_notes | notes | {"description": "Simulated for a test."})
    write_json(folder / "plan.json", {"points": points})
    area = [(SIDE / GRID) ** 2] * len(records.images.index)
    figures, why = compare(dict.fromkeys(METHODS, records), "ours", 20, patch_area=area)
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
    command = [sys.executable, "-m", "scripts.redraw_report", str(left), "--plan", str(left / "plan.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (left / "redrawn" / "report.html").read_text()
    for title in ("Comparison with other methods", "Operating points and calibration", "Simulated images."):
        assert title in page
    assert "theirs &lt;b&gt;" in page
    assert "theirs <b>" not in page
    for name in ("comparison", "reliability", "froc"):
        assert (left / "redrawn" / "figures" / f"{name}.png").stat().st_size > 5000
