"""What preparing a datalist keeps in memory of an image, measured on its own code at two sizes."""

import dataclasses
import os
import tracemalloc

import pytest

from bundle.data.sources.chexpert import FINDINGS, NO_FINDING, read_chexpert
from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.record import Record
from bundle.data.sources.spool import Digests, Spool
from bundle.data.sources.table import read_table
from bundle.reading.radiograph import check_radiograph
from tests.data.sources.source_files import write_csv, write_pictures

FEW, MANY = 200, 800
MOST = 700  # bytes an image; with lists of records, entries and paths 3,400


def chexpert(folder, count):
    names = [f"train/patient{n // 2:06d}/study{n % 2}/view1_frontal.jpg" for n in range(count)]
    labels = [",".join(("", "1.0", "0.0", "-1.0")[(n + k) % 4] for k in range(len(FINDINGS) + 1)) for n in range(4)]
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING, *FINDINGS))
    rows = [f"CheXpert-v1.0/{name},Male,{n % 90},Frontal,AP,{labels[n % 4]}" for n, name in enumerate(names)]
    table = write_csv(folder / "train.csv", header, *rows)
    return names, lambda: read_chexpert(table)


def own_table(folder, count):
    names = [f"{n:06d}.png" for n in range(count)]
    report = "The heart is of normal size. There is a mass in the left lung."
    rows = [f"{name},p{n // 2},Mass,{n % 20},3,10,12.5,F,{n % 90},{report} {n}" for n, name in enumerate(names)]
    table = write_csv(folder / "t.csv", "image,patient,finding,x,y,width,height,sex,age,report", *rows)
    return names, lambda: read_table(table, unnamed="absent")


def peak(folder, source, count):
    folder.mkdir()
    names, read = source(folder, count)
    picture = write_pictures(folder, ["one.png"]) / "one.png"
    for name in names:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(picture, folder / "images" / name)
    tracemalloc.start()
    try:
        prepare(read(), folder / "images", folder / "d.json", Options())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", [chexpert, own_table])
def test_an_image_more_is_some_hundred_bytes_more(tmp_path, source, monkeypatch):
    layouts = {}
    look = "bundle.data.sources.seen_headers.check_radiograph"  # all are links to one picture, which is looked at once
    monkeypatch.setattr(look, lambda path: layouts.get("one") or layouts.setdefault("one", check_radiograph(path)))
    peak(tmp_path / "first", source, 20)  # imports and caches
    few, many = peak(tmp_path / "few", source, FEW), peak(tmp_path / "many", source, MANY)
    growth = (many - few) / (MANY - FEW)
    assert growth < MOST, f"{growth:.0f} bytes an image"


def test_a_spool_is_a_sequence_that_may_grow_while_it_is_read():
    spool = Spool([Record("a", "p", labels={"Mass": 1}), Record("b", "q")])
    assert spool[0].labels == {"Mass": 1}
    spool.append(dataclasses.replace(spool[1], image="c"))
    assert [record.image for record in spool] == ["a", "b", "c"]
    assert (len(spool), spool[-1].image, [record.image for record in spool[1:]]) == (3, "c", ["b", "c"])
    with pytest.raises(IndexError):
        spool[3]


def test_digests_know_where_a_text_stands():
    digests = Digests(["b", "a", "b", "ä", "a"])
    assert [digests.places(text) for text in ("a", "b", "c")] == [[1, 4], [0, 2], []]
    assert list(digests.repeated()) == [(2, 0), (4, 1)]
    digests.add("a")
    assert (digests.places("a"), digests.distinct(), len(digests)) == ([1, 4, 5], 3, 6)
    assert not Digests().places("a")
