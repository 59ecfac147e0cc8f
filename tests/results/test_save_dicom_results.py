"""DICOM results of a run: behind SaveFindingsd, from its files, for whatever formats the folder holds."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import MetaTensor
from PIL import Image
from pydicom import dcmread

from bundle.atomic import write_json
from bundle.data.inputs import radiograph_files
from bundle.probability import OperatingPoints
from bundle.results import SaveDicomResultsd
from bundle.results.dicom import NotAssessedError
from bundle.results.findings_file import write_maps
from scripts.dicom_results import main
from tests.results.dicom_case import FINDINGS, HEIGHT, WIDTH, document, maps, write_radiograph

ENDINGS = ("_gsps.dcm", "_sc.dcm", "_sr.dcm")


def save(
    source: Path,
    output: Path,
    name: str,
    not_assessed: str | None = None,
    points: OperatingPoints | None = None,
    **settings: Any,
) -> None:
    """What SaveFindingsd leaves, then the transform."""
    write_maps(output / f"{name}_map.nii.gz", maps(), np.eye(4), (HEIGHT, WIDTH))
    said = document(
        map={"file": f"{name}_map.nii.gz"},
        not_assessed=not_assessed,
        points=points,
        analysed="2026-11-29T10:20:30+01:00",
    )
    write_json(output / f"{name}.json", said)
    sample = {"image": MetaTensor(np.zeros((1, 8, 8)), meta={"filename_or_obj": str(source)}), "pred": 0}
    assert SaveDicomResultsd(output_dir=output, **settings)(sample) == sample


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.dcm"))


def test_results_lie_beside_the_findings_and_are_not_read_again(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    (tmp_path / "out").mkdir()
    save(source, tmp_path / "out", "in")
    assert written(tmp_path / "out") == [f"in{ending}" for ending in ENDINGS]
    own = write_radiograph(tmp_path / "scan_sc.dcm")  # a radiograph that only has such a name
    assert radiograph_files(tmp_path) == [str(source), str(own)]


def test_a_png_and_an_image_without_a_study_get_a_warning_and_no_results(tmp_path, caplog):
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "a.png")
    write_radiograph(tmp_path / "b.dcm", StudyInstanceUID=None)
    (tmp_path / "out").mkdir()
    with caplog.at_level(logging.WARNING):
        save(tmp_path / "a.png", tmp_path / "out", "a")
        save(tmp_path / "b.dcm", tmp_path / "out", "b")
    assert written(tmp_path / "out") == []
    assert "a.png: this is a PNG file" in caplog.text
    assert "b.dcm: StudyInstanceUID is missing" in caplog.text


def test_what_was_not_assessed_gets_a_warning_and_no_results(tmp_path, caplog):
    source = write_radiograph(tmp_path / "in.dcm")
    (tmp_path / "out").mkdir()
    with caplog.at_level(logging.WARNING):
        save(source, tmp_path / "out", "in", not_assessed="View Position (0018,5101) states a lateral view")
    assert written(tmp_path / "out") == []
    assert "No DICOM results: " in caplog.text
    assert "in.dcm: not assessed: View Position (0018,5101) states a lateral view" in caplog.text
    with pytest.raises(NotAssessedError, match="a lateral view"):
        main(str(source), str(tmp_path / "out" / "in.json"))


def test_anonymous_names_and_scores_are_those_of_the_run(tmp_path):
    source = write_radiograph(tmp_path / "SECRET-ID.dcm")
    (tmp_path / "out").mkdir()
    settings = {"anonymous_names": True, "inputs": [{"image": str(source)}]}
    points = OperatingPoints(FINDINGS, {name: {"box": 0.8} for name in FINDINGS})
    save(source, tmp_path / "out", "000001", points=points, **settings)
    assert written(tmp_path / "out") == [f"000001{ending}" for ending in ENDINGS]
    assert "Mass 2" not in str(dcmread(tmp_path / "out" / "000001_sr.dcm"))


def test_without_findings_it_says_where_it_belongs(tmp_path):
    source = write_radiograph(tmp_path / "in.dcm")
    sample = {"image": MetaTensor(np.zeros((1, 8, 8)), meta={"filename_or_obj": str(source)}), "pred": 0}
    with pytest.raises(FileNotFoundError, match="put SaveFindingsd before it"):
        SaveDicomResultsd(output_dir=tmp_path / "out")(sample)


def test_the_script_makes_the_same_results_later(tmp_path, capsys):
    source = write_radiograph(tmp_path / "in.dcm")
    (tmp_path / "out").mkdir()
    save(source, tmp_path / "out", "in", deterministic=True)
    main(str(source), str(tmp_path / "out" / "in.json"), str(tmp_path / "again"), deterministic=True)
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "again" / f"in{e}") for e in ("_sr.dcm", "_gsps.dcm", "_sc.dcm")
    ]
    for name in written(tmp_path / "out"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert json.loads((tmp_path / "out" / "in.json").read_text())["model"]["version"] == "1.2.3"
