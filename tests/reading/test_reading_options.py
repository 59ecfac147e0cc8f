"""The section `reading` of a configuration: what it may say, and that it reaches whoever reads an image."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bundle.data.datalist import DatalistError, datalist_section
from bundle.data.inputs import radiograph_files
from bundle.reading import RadiographError, ReadingOptions, read_radiograph
from bundle.transforms import LoadRadiographd
from tests.tiny import write_dicom

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [path for path in sorted((ROOT / "configs").glob("*.json")) if '"reading": {' in path.read_text()]


def test_a_section_of_a_configuration_becomes_options() -> None:
    section = {"_desc_": "said by people", "value_range": [0, 4095], "percentiles": [1, 99]}
    options = ReadingOptions.of(section)
    assert options == ReadingOptions(value_range=(0, 4095), percentiles=(1, 99))
    assert hash(options) == hash(ReadingOptions.of(section))  # a key of what remembers readings
    assert ReadingOptions.of(None) == ReadingOptions.of({}) == ReadingOptions()
    assert ReadingOptions.of(options) is options


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"voi_indx": 1}, "reading#voi_indx is not known.*did you mean reading#voi_index"),
        ({"voi_index": -1}, "reading#voi_index is -1"),
        ({"voi_index": True}, "reading#voi_index is True"),
        ({"prefer_lut": 1}, "reading#prefer_lut is 1; wanted true or false"),
        ({"value_range": [4095]}, r"reading#value_range is \[4095\]; wanted null, or \[low, high\]"),
        ({"value_range": "0,4095"}, "reading#value_range is '0,4095'"),
        ({"value_range": [0, float("inf")]}, "reading#value_range"),
        ({"percentiles": [0, 101]}, "reading#percentiles is"),
        ([1], r"reading is \[1\]"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(section: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ReadingOptions.of(section)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_state_the_defaults(path: Path) -> None:
    """Whoever reads a config sees what can be chosen; and configs differ where they are meant to alone."""
    flat = "note" if path.stem == "inference" else "refuse"
    assert ReadingOptions.of(json.loads(path.read_text())["reading"]) == ReadingOptions(flat=flat)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.json")), ids=lambda path: path.stem)
def test_every_reader_of_a_config_reads_with_its_options(path: Path) -> None:
    def components(value: Any) -> list[dict[str, Any]]:
        if isinstance(value, list):
            return [found for item in value for found in components(item)]
        if not isinstance(value, dict):
            return []
        return [value, *components(list(value.values()))]

    for component in components(json.loads(path.read_text())):
        name = str(component.get("_target_", "")).rpartition(".")[2]
        if name in ("LoadRadiographd", "SaveFindingsd", "radiograph_samples"):
            assert component["options"] == "@reading", name
        if name in ("datalist_section", "text_data"):
            assert component["reading"] == "@reading", name


def test_a_file_read_with_other_options_comes_from_no_cache(tmp_path: Path) -> None:
    """The datalist remembers what it checked: with another window asked for, it looks again."""
    write_dicom(tmp_path / "a.dcm", np.full((40, 30), 7), WindowCenter=[8, 9], WindowWidth=[16, 16])
    entry = {"image": "a.dcm", "patient_id": "p"}
    (tmp_path / "datalist.json").write_text(json.dumps({"findings": ["Mass"], "training": [entry]}))
    arguments: dict[str, Any] = {"path": tmp_path / "datalist.json", "section": "training"}
    for _ in range(2):
        assert datalist_section(**arguments)
        assert datalist_section(**arguments, reading={"voi_index": 1})
        with pytest.raises(DatalistError, match=r"reading#voi_index is 2, but the file has 2.*reading#value_range"):
            datalist_section(**arguments, reading={"voi_index": 2})
    assert datalist_section(**arguments, reading={"voi_index": 2, "value_range": [0, 9]})


def test_folders_are_checked_with_the_options(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", np.full((40, 30), 7), WindowCenter=8, WindowWidth=16)
    assert len(radiograph_files(tmp_path)) == 1
    with pytest.raises(ValueError, match="reading#voi_index is 3"):
        radiograph_files(tmp_path, options={"voi_index": 3})
    with pytest.raises(RadiographError, match="reading#voi_index is 3"):
        LoadRadiographd(options={"voi_index": 3})({"image": tmp_path / "a.dcm"})


def test_the_command_line_sets_what_is_shown(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", np.arange(1200).reshape(40, 30), WindowCenter=2048, WindowWidth=4096)
    assert read_radiograph(tmp_path / "a.dcm")[0].max() == pytest.approx(1199 / 4095, abs=1e-3)
    look = f"$torch.save(@dataset[0]['image'].as_tensor(), {str(tmp_path / 'shown.pt')!r})"
    command = [sys.executable, "-m", "monai.bundle", "run", "look", f"--config_file={ROOT / 'configs/inference.json'}"]
    command += [f"--dataset_dir={tmp_path}", f"--output_dir={tmp_path / 'out'}", "--image_size=40", f"--look={look}"]
    command += [f"--bundle_root={tmp_path}", "--reading#value_range=[0,1199]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert torch.load(tmp_path / "shown.pt").max() == 1.0
