"""Datalists, the tables that they are made of, and another model's predictions."""

from __future__ import annotations

import copy
import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from bundle.comparison.predictions import MapReading
from bundle.data.datalist import check_datalist, datalist_section
from bundle.data.sources.command import source_command
from bundle.data.sources.table import read_table
from bundle.report.judge_predictions import judge_predictions
from tests.corpus.bad import Bad
from tests.corpus.radiographs import whole
from tests.data.datalist_document import FINDINGS, Document, write_image
from tests.data.sources.source_files import write_pictures
from tests.data.test_datalist_faults import FAULTS

DOCUMENT: Document = {
    "findings": FINDINGS,
    "training": [
        {
            "image": "images/a.dcm",
            "patient_id": "patient-7",
            "report": "Secret effusion.",
            "labels": {"Effusion": 1},
            "boxes": [{"finding": "Effusion", "box": [0, 0, 60, 40]}],
            "boxed": ["Effusion"],
        }
    ],
    "validation": [{"image": "images/b.dcm", "patient_id": "2"}],
    "test": [{"image": "images/d.dcm", "patient_id": "3", "labels": {}, "boxes": [], "boxed": []}],
}
TEXTS: dict[str, tuple[str | bytes, str]] = {
    "half of it": ('{"findings": ["Mass"],\n "training": [}', "line 2"),
    "nothing": ("", "JSON"),
    "a list": ("[1]", "a list"),
    "no section": ('{"findings": ["Mass"]}', "sections"),
    "no findings": ('{"training": []}', "findings"),
    "findings as text": ('{"findings": "Mass", "training": []}', "findings"),
    "a finding twice": ('{"findings": ["A", "A"], "training": []}', "A 2 times"),
    "a finding called mean": ('{"findings": ["A", "mean"], "training": []}', "mean"),
    "a section twice": ('{"findings": ["A"], "test": [], "test": []}', "twice"),
    "a section as object": ('{"findings": ["A"], "training": {}}', "training"),
    "an entry as text": ('{"findings": ["A"], "training": [{"image": "a.png", "patient_id": 1}, "b"]}', "training[1]"),
    "Latin-1": ('{"findings": ["Ödem"], "training": []}'.encode("latin-1"), "UTF-8"),
    "UTF-16": ('{"findings": ["A"], "training": []}'.encode("utf-16"), "UTF-8"),
    "a picture": (whole()[128:400], "UTF-8"),
    "deep": ("[" * 100_000, "JSON"),
    "a number too long": ('{"findings": ["A"], "training": [' + "9" * 5000 + "]}", "JSON"),
}
IMAGES = {
    "an absent image": ("images/none.dcm", "no such file"),
    "a folder as image": ("images", "this is a folder"),
    "a path that leaves": ("../outside.dcm", "leaves the data folder"),
    "an absolute path": ("/etc/hostname", "leaves the data folder"),
    "an image twice": ("images/./b.dcm", "the image of validation[0]"),
    "a NUL in a path": ("images/\0.dcm", "image"),
    "a name too long": ("x" * 5000, "image"),
}


def raw(content: str | bytes) -> bytes:
    """Text as UTF-8; bytes as they are."""
    return content.encode() if isinstance(content, str) else content


def datalist(folder: Path, content: Any) -> Path:
    """A datalist beside its images; returns its path."""
    for name in "abd":
        write_image(folder / "images" / f"{name}.dcm")
    path = folder / "datalist.json"
    path.write_bytes(raw(content if isinstance(content, str | bytes) else json.dumps(content)))
    return path


def checked(content: Any, **how: Any) -> Callable[[Path], Callable[[], Any]]:
    """Prepares a datalist to be checked."""

    def prepare(folder: Path) -> Callable[[], Any]:
        path = datalist(folder, content)
        return lambda: check_datalist(path, **how)

    return prepare


def datalists() -> Iterator[Bad]:
    """Faults of entries (those of tests/data), of images and of the file."""

    def changed(**entry: Any) -> Document:
        document = copy.deepcopy(DOCUMENT)
        document["test"][0].update(entry)
        return document

    for name, (changes, field, *_) in FAULTS.items():
        yield Bad(f"datalist, {name}", checked(changed(**changes)), ("datalist.json", "test[0]", field))
    for name, (image, found) in IMAGES.items():
        yield Bad(f"datalist, {name}", checked(changed(image=image)), ("datalist.json", "test[0]", found))
    for name, (text, found) in TEXTS.items():
        yield Bad(f"datalist, {name}", checked(text), ("datalist.json", found))
    yield Bad(
        "datalist, a patient in two sections",
        checked(changed(patient_id="patient-7 ")),
        ("test[0]", "the patient of training[0]"),
    )
    yield Bad("datalist, reports", checked(DOCUMENT, require_reports=["test"]), ("test[0]", "report"))
    yield Bad(
        "datalist, another finding",
        checked(DOCUMENT, findings=["Masses"]),
        ("datalist.json", "Masses", "did you mean Mass"),
    )

    def section(folder: Path) -> Callable[[], Any]:
        path = datalist(folder, DOCUMENT)
        return lambda: datalist_section(path, "fold_1")

    yield Bad("datalist, another section", section, ("datalist.json", "fold_1"))


HEADER = "image,patient,finding,x,y,width,height"
ROW = "a,p,Mass,1,2,3,4"
TABLES: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "no width": (f"{HEADER}\na,p,Mass,1,2,0,4", ("line 2",)),
    "a negative height": (f"{HEADER}\na,p,Mass,1,2,3,-4", ("line 2",)),
    "a corner of words": (f"{HEADER}\na,p,Mass,1,two,3,4", ("line 2", "two")),
    "half a box": (f"{HEADER}\na,p,Mass,1,2,,4", ("line 2",)),
    "no patient": (f"{HEADER}\na,,Mass,1,2,3,4", ("line 2", "patient")),
    "a box of nothing": (f"{HEADER}\na,p,No finding,1,2,3,4", ("line 2", "a box")),
    "a number as finding": (f"{HEADER}\na,p,3,1,2,3,4", ("line 2", "a number")),
    "too few fields": (f"{HEADER}\na,p,Mass", ("line 2", "3 fields")),
    "too many fields": (f"{HEADER}\n{ROW},5", ("line 2", "8 fields")),
    "no image": (f"{HEADER}\n,p,Mass,1,2,3,4", ("line 2", "image")),
    "no columns that are known": ("one,two\n1,2", ("t.csv", "image")),
    "a column twice": (f"image,Image,{HEADER[6:]}\na,{ROW}", ("t.csv", "each column once")),
    "no header": ("", ("t.csv", "header")),
    "no findings": ("image,patient\na,p", ("t.csv", "finding")),
    "two ages": (f"{HEADER},age\n{ROW},50\na,p,Effusion,,,,,60", ("line 3", "age")),
    "an age of words": (f"{HEADER},age\n{ROW},old", ("line 2", "age")),
    "two patients": (f"{HEADER}\n{ROW}\na,q,Effusion,,,,", ("line 3", "patient")),
    "nothing found, and a mass": (f"{HEADER}\n{ROW}\na,p,No finding,,,,", ("line 3", "mass")),
    "a label 2": (f"{HEADER},label\n{ROW},2", ("line 2", "2")),
    "a workbook": (b"PK\x03\x04" + bytes(100), ("t.csv", "workbook")),
    "NULs": (f"{HEADER}\na,p,Ma\0ss,1,2,3,4".encode(), ("t.csv",)),
    "an image that is not there": (f"{HEADER}\n{ROW}\nz,q,Mass,1,2,3,4", ("z",)),
    "a box outside": (f"{HEADER}\na,p,Mass,1,2,999,4\nb,q,Mass,500,500,3,4", ("b",)),
    "a picture": (whole(), ("t.csv",)),
    "UTF-16 cut": ("\ufeffimage".encode("utf-16-le")[:-1], ("t.csv",)),
}


def prepared(content: str | bytes, name: str = "t.csv", **options: Any) -> Callable[[Path], Callable[[], Any]]:
    """Prepares a table for prepare_datalist."""
    prepare_table = source_command(read_table)

    def prepare(folder: Path) -> Callable[[], Any]:
        images = write_pictures(folder / "images", ["a.png", "b.png"])
        (folder / name).write_bytes(raw(content))
        return lambda: prepare_table(
            images=images, table=folder / name, output=folder / "out" / "datalist.json", **options
        )

    return prepare


def sources() -> Iterator[Bad]:
    """Tables for prepare_datalist."""
    for name, (content, said) in TABLES.items():
        yield Bad(f"table, {name}", prepared(content), said)
    whole_table = f"{HEADER}\n{ROW}"
    yield Bad("table, gzip cut", prepared(gzip.compress(whole_table.encode())[:-12], "t.csv.gz"), ("t.csv.gz",))
    yield Bad("table, no gzip", prepared(whole_table, "t.csv.gz"), ("t.csv.gz",))
    yield Bad("table, no ZIP", prepared(whole_table, "t.zip"), ("t.zip",))
    for option, value in {"finding_column": "Befund", "image_column": "Datei", "x": "left"}.items():
        yield Bad(f"table, {option}", prepared(whole_table, **{option: value}), (option, value))
    yield Bad("table, unnamed", prepared(whole_table, unnamed="none"), ("unnamed", "'none'"))

    def absent(folder: Path) -> Callable[[], Any]:
        images = write_pictures(folder / "images", ["a.png"])
        return lambda: source_command(read_table)(images=images, table=folder / "none.csv", output=folder / "d.json")

    def two(folder: Path) -> Callable[[], Any]:
        with zipfile.ZipFile(folder / "t.zip", "w") as archive:
            archive.writestr("a.csv", whole_table)
            archive.writestr("b.csv", whole_table)
        images = write_pictures(folder / "images", ["a.png"])
        return lambda: source_command(read_table)(images=images, table=folder / "t.zip", output=folder / "d.json")

    yield Bad("table, none", absent, ("none.csv", "no such file"))
    yield Bad("table, two in a ZIP", two, ("t.zip", "2 files"))


BOXES = "image,finding,score,x0,y0,x1,y1"
BOX_ROW = "d.dcm,Mass,.5,1,2,30,20"
BOX_TABLES: dict[str, tuple[str | bytes, str]] = {
    "no column": ("image,finding,x0,y0,x1,y1\n", "score"),
    "another finding": (f"{BOXES}\nd.dcm,Masses,.5,1,2,30,20", "Masses"),
    "a score of 2": (f"{BOXES}\nd.dcm,Mass,2,1,2,30,20", "score '2'"),
    "a score of words": (f"{BOXES}\nd.dcm,Mass,high,1,2,30,20", "'high'"),
    "a score of NaN": (f"{BOXES}\nd.dcm,Mass,nan,1,2,30,20", "'nan'"),
    "a box outside": (f"{BOXES}\nd.dcm,Mass,.5,1,2,61,20", "60 x 40"),
    "a box turned": (f"{BOXES}\nd.dcm,Mass,.5,30,2,1,20", "30, 2, 1, 20"),
    "an unknown image": (f"{BOXES}\nz.dcm,Mass,.5,1,2,30,20", "'z.dcm'"),
    "no image of the section": (f"{BOXES}\na.dcm,Mass,.5,1,2,30,20", "no row of an image of this section"),
    "too few fields": (f"{BOXES}\nd.dcm,Mass,.5", "line 2"),
    "too many fields": (f"{BOXES}\n{BOX_ROW},9", "line 2"),
    "Latin-1": (f"{BOXES}\nd.dcm,Ödem,.5,1,2,30,20".encode("latin-1"), "UTF-8"),
    "UTF-16": (f"{BOXES}\n{BOX_ROW}".encode("utf-16"), "UTF-8"),
    "a NUL": (f"{BOXES}\nd.dcm,Ma\0ss,.5,1,2,30,20", "Ma"),
    "a field without end": (f'{BOXES}\nd.dcm,"' + "x" * 200_000, "line"),
    "empty": ("", "image"),
}
SCORE_TABLES: dict[str, tuple[str | bytes, str]] = {
    "no column": ("image,Mass\nd.dcm,.5", "Effusion"),
    "no row": ("image,Atelectasis,Effusion,Mass\na.dcm,.1,.2,.3", "no row"),
    "a row twice": ("image,Atelectasis,Effusion,Mass\nd.dcm,.1,.2,.3\nd.dcm,.1,.2,.3", "second row"),
    "a score of 2": ("image,Atelectasis,Effusion,Mass\nd.dcm,.1,.2,2", ".2, 2"),
}


def judged(write: Callable[[Path], object], **how: Any) -> Callable[[Path], Callable[[], Any]]:
    """Prepares a folder of predictions to be judged."""

    def prepare(folder: Path) -> Callable[[], Any]:
        path = datalist(folder, DOCUMENT)
        (folder / "theirs").mkdir()
        write(folder / "theirs")
        return lambda: judge_predictions(path, folder / "theirs", folder / "out", replicates=0, **how)

    return prepare


def predictions() -> Iterator[Bad]:
    """What another model left."""

    def table(name: str, content: str | bytes) -> Callable[[Path], object]:
        def write(theirs: Path) -> None:
            if name == "scores.csv":
                (theirs / "boxes.csv").write_text(f"{BOXES}\n{BOX_ROW}\n")
            (theirs / name).write_bytes(raw(content))

        return write

    def array(values: Any, name: str = "d.npy") -> Callable[[Path], object]:
        return lambda theirs: np.save(theirs / name, values, allow_pickle=True)

    for file, tables in (("boxes.csv", BOX_TABLES), ("scores.csv", SCORE_TABLES)):
        for name, (content, said) in tables.items():
            yield Bad(f"{file}, {name}", judged(table(file, content)), (file, said))
    zeros = np.zeros((3, 4, 6))
    yield Bad("maps, none", judged(lambda theirs: None), ("theirs", "boxes.csv"))
    yield Bad("maps, no folder", judged(lambda theirs: theirs.rmdir()), ("theirs", "no folder"))
    yield Bad("maps, too few", judged(array(zeros[:2])), ("d.npy", "(2, 4, 6)"))
    yield Bad("maps, flat", judged(array(zeros[0])), ("d.npy", "(4, 6)"))
    yield Bad("maps, above 1", judged(array(zeros + 200)), ("d.npy", "200"))
    yield Bad("maps, below 0", judged(array(zeros - 1)), ("d.npy", "-1"))
    yield Bad("maps, NaN", judged(array(zeros * np.nan)), ("d.npy", "nan"))
    yield Bad("maps, words", judged(array(np.full((3, 4, 6), "high"))), ("d.npy",))
    yield Bad("maps, code", judged(array(np.array([{"a": 1}], object))), ("d.npy",))
    yield Bad("maps, complex", judged(array(zeros * 1j)), ("d.npy",))
    yield Bad("maps, empty", judged(lambda theirs: (theirs / "d.npy").touch()), ("d.npy",))
    yield Bad("maps, no NIfTI", judged(lambda theirs: (theirs / "d.nii").write_bytes(b"a map")), ("d.nii",))
    yield Bad(
        "maps, a flat NIfTI",
        judged(lambda theirs: nibabel.save(nibabel.Nifti1Image(zeros[0], np.eye(4)), theirs / "d.nii.gz")),
        ("d.nii.gz",),
    )
    yield Bad(
        "maps, settings beside boxes",
        judged(table("boxes.csv", f"{BOXES}\n"), maps=MapReading()),
        ("boxes.csv", "settings"),
    )
    yield Bad("maps, another section", judged(array(zeros), section="fold_1"), ("datalist.json", "fold_1"))
