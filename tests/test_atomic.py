"""Files are whole or absent."""

import json
import os
from pathlib import Path

import pytest

from bundle.atomic import atomic_path, new_folder, write_file, write_json


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.nii.gz"
    write_file(path, "old")
    names = []

    def fail() -> None:
        with atomic_path(path) as temporary:
            names.append(temporary.name)
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert names[0].endswith(".a.nii.gz")
    assert [p.name for p in path.parent.iterdir()] == ["a.nii.gz"]
    assert path.read_text() == "old"


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_file(tmp_path / "a", b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    write_json(tmp_path / "a.json", {"é": None})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"é": None}


def test_a_folder_that_fails_leaves_nothing_and_one_that_is_there_is_left_alone(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "deep" / "a") as folder:
            (folder / "half").touch()
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "a").mkdir()  # an empty one may be there
    with new_folder(tmp_path / "a") as folder:
        (folder / "first").touch()
    with pytest.raises(FileExistsError, match="is there already"), new_folder(tmp_path / "a"):
        pass
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["first"]
