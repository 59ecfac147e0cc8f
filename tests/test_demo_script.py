"""scripts/demo.sh: the trainings for comparison run side by side, and end together where one fails."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# stands for the interpreter: says what it was asked; training without boxes waits for the detector's, takes as long as
# is said, and saves when it is asked to end
INTERPRETER = """#!/usr/bin/env bash
case "$*" in
  *training*image_labels_only*)
    trap 'sleep 0.5; echo saving; touch labels_saved; exit 143' TERM
    touch labels_began
    until [ -e detector_began ]; do sleep 0.05; done
    sleep "$LABELS_SECONDS" & wait $!
    touch labels_ended
    ;;
  *training*detector*)
    touch detector_began
    until [ -e labels_began ]; do sleep 0.05; done
    [ "$DETECTOR_STATUS" = 0 ] || exit "$DETECTOR_STATUS"
    ;;
esac
echo "threads ${OMP_NUM_THREADS:-all}: $*"
"""


CACHED = "--canvas_cache#folder data/demo/canvases"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A folder in which all is done but what is trained for comparison and what follows."""
    for name in ("scripts", "data/demo", "models/demo", "models/image_labels_only"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/demo/datalist.json").write_text('{"generator": {"more_training": 2400}}')
    (tmp_path / "models/demo/.trained").touch()
    shutil.copy(ROOT / "scripts" / "demo.sh", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text(f"root={tmp_path}; cd $root; PYTHON=$root/python\n")
    (tmp_path / "python").write_text(INTERPRETER)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def _run(demo: Path, labels_seconds: int, detector_status: int) -> subprocess.CompletedProcess[str]:
    settings = {"LABELS_SECONDS": str(labels_seconds), "DETECTOR_STATUS": str(detector_status)}
    command = ["bash", str(demo / "scripts" / "demo.sh")]
    return subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **settings}, capture_output=True, text=True, timeout=50
    )


def test_two_trainings_share_the_cores_and_then_it_goes_on(demo: Path) -> None:
    done = _run(demo, 0, 0)
    assert done.returncode == 0, done.stderr
    assert (demo / "models/image_labels_only/.trained").exists()
    half = max(1, (os.cpu_count() or 1) // 2)
    for rival in ("without_boxes", "detector"):
        assert f"{rival}: threads {half}: -m monai.bundle run training {CACHED}" in done.stdout
    assert f"without_boxes: threads {half}: -m monai.bundle run freezing" in done.stdout
    assert "\nthreads all: -m monai.bundle run evaluating" in done.stdout


def test_what_is_there_is_not_made_again(demo: Path) -> None:
    (demo / "models/image_labels_only/.trained").touch()
    (demo / "labels_began").touch()  # the detector's training waits for it
    done = _run(demo, 0, 0)
    assert done.returncode == 0, done.stderr
    assert "scripts.build_cache" in done.stdout
    assert f"detector: threads {os.cpu_count()}: -m monai.bundle run training {CACHED}" in done.stdout
    for name in ("without_boxes", "freezing", "make_demo_radiographs"):
        assert name not in done.stdout
    (demo / "eval/detector").mkdir(parents=True)
    (demo / "eval/detector/metrics.json").touch()
    again = _run(demo, 0, 0)
    assert again.returncode == 0, again.stderr
    assert "run evaluating" in again.stdout
    for name in ("build_cache", "run training"):
        assert name not in again.stdout


def test_where_one_fails_the_other_ends_and_the_demo_with_its_status(demo: Path) -> None:
    start = time.monotonic()
    done = _run(demo, 40, 3)
    assert done.returncode == 3
    assert time.monotonic() - start < 40
    assert "evaluating" not in done.stdout
    assert "without_boxes: saving\n" in done.stdout
    assert (demo / "labels_began").exists()
    assert (demo / "labels_saved").exists(), "the script has not waited for the other's end"
    assert not (demo / "labels_ended").exists()
    assert not (demo / "models/image_labels_only/.trained").exists()


def test_what_an_earlier_version_left_is_not_compared_with_today_s(demo: Path) -> None:
    (demo / "data/demo/datalist.json").write_text('{"generator": {"images": 4000}}')
    done = _run(demo, 0, 0)
    assert done.returncode == 1
    assert done.stdout == ""
    said = (
        "demo.sh: found data/demo/datalist.json models/demo models/image_labels_only, but in data/demo no datalist of"
    )
    assert done.stderr.startswith(said)
    (demo / "data/demo/datalist.json").unlink()
    assert "found models/demo models/image_labels_only" in _run(demo, 0, 0).stderr


def test_an_empty_folder_gets_the_data_first(demo: Path) -> None:
    for name in ("data", "models"):
        shutil.rmtree(demo / name)
    done = _run(demo, 0, 3)  # ends at the detector
    simulated = "-m scripts.make_demo_radiographs --output data/demo --images 4000 --more_training 2400 --seed 0"
    steps = [simulated, "scripts.build_cache", f"monai.bundle run training {CACHED}"]
    places = [done.stdout.index(step) for step in steps]
    assert places == sorted(places)
