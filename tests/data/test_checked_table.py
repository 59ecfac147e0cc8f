"""A checked datalist's table: the same entries and items as without it, and none where anything has changed."""

import gc
import json
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from bundle.data import datalist as module
from bundle.data.checked_table import table_about, write_table
from bundle.data.datalist import (
    DatalistError,
    datalist_description,
    datalist_findings,
    datalist_section,
    load_datalist,
    section_entries,
    write_checked,
)
from bundle.data.datalist_text import table_of
from bundle.data.entries import Entries
from bundle.reading.options import ReadingOptions
from scripts.check_datalist import main
from tests.data.datalist_document import write_image


@pytest.fixture
def made(document, write):
    """A datalist's path, with what the table must keep: repeated boxes, readers, free keys, reports in some entries."""
    document["description"] = "two hospitals"
    document["test"][0]["mine"] = {"α": [1, None, 2.5]}
    path = write(document)
    before = without_table(path)
    write_checked(path)
    return path, before


def without_table(path):
    module._load_once.cache_clear()
    sections = [
        key for key, value in json.loads(path.read_text()).items() if isinstance(value, list) and key != "findings"
    ]
    return load_datalist(path, sections), {name: datalist_section(path, name, keep=["mine"]) for name in sections}


def same(one, other):
    """Whether two items are equal, arrays by value and type."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other or (one != one and other != other)


@pytest.fixture
def by_table(made):
    module._load_once.cache_clear()
    return made


def test_entries_and_items_are_those_of_the_whole_check(by_table):
    path, (checked, items) = by_table
    again = load_datalist(path, list(checked.sections))
    assert again.findings == checked.findings
    assert all(isinstance(again[name], Entries) for name in checked.sections)
    for name, entries in checked.sections.items():
        assert list(again[name]) == entries
        section = datalist_section(path, name, keep=["mine"])
        assert not isinstance(section, list)
        assert len(section) == len(items[name])
        assert all(same(one, other) for one, other in zip(section, items[name], strict=True))
        assert same(section[-1], items[name][-1])
        assert [item["index"] for item in section[1:]] == [item["index"] for item in items[name][1:]]
        with pytest.raises(IndexError):
            section[len(section)]


def test_sections_in_a_row_are_numbered_through(by_table):
    path, _ = by_table
    names = ["test", "training"]
    lazy = datalist_section(path, names)
    table_of(path).unlink()
    module._load_once.cache_clear()
    whole = datalist_section(path, names)
    assert all(same(one, other) for one, other in zip(lazy, whole, strict=True))
    assert [item["group"] for item in lazy] == [item["group"] for item in whole]


def test_no_image_is_looked_at(by_table, monkeypatch):
    path, _ = by_table
    monkeypatch.setattr("bundle.data.datalist_check.check_radiograph", None)
    monkeypatch.setattr(module, "parse_document", None)
    assert len(datalist_section(path, "training"))
    assert datalist_findings(path) == json.loads(path.read_text())["findings"]
    assert datalist_description(path) == "two hospitals"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_the_same_table(by_table, context):
    path, (_, items) = by_table
    section = datalist_section(path, "training")
    loader = DataLoader(section, batch_size=None, num_workers=2, multiprocessing_context=context, collate_fn=_as_it_is)
    assert [item["image"] for item in loader] == [item["image"] for item in items["training"]]
    assert pickle.loads(pickle.dumps(section))[0]["image"] == items["training"][0]["image"]


def _as_it_is(item):
    return item


def other_datalist(path):
    text = path.read_text()
    path.write_text(text.replace("two hospitals", "one hospital"))
    return "the datalist has changed since"


def other_image(path):
    image = next(path.parent.rglob("*.dcm"))
    os.utime(image, ns=(1, 1))
    return "an image has changed since"


def no_table(path):
    table_of(path).write_bytes(b"ARROW1\0\0 and then nothing")
    return "it is no such table"


def other_version(path):
    table = pa.ipc.open_file(table_of(path).read_bytes()).read_all()
    about = json.loads(table.schema.metadata[b"about"]) | {"format": 0}
    table = table.replace_schema_metadata({b"about": json.dumps(about).encode()})
    with pa.ipc.new_file(str(table_of(path)), table.schema) as writer:
        writer.write_table(table)
    return "it is of another version"


@pytest.mark.parametrize("change", [other_datalist, other_image, no_table, other_version])
def test_a_table_that_no_longer_holds_is_passed_over(by_table, caplog, change):
    path, (checked, _) = by_table
    why = change(path)
    with caplog.at_level(logging.WARNING):
        again = load_datalist(path, list(checked.sections))
    assert why in caplog.text
    assert "scripts.check_datalist" in caplog.text
    assert again.sections == checked.sections


def test_what_the_table_was_not_made_for_is_checked(by_table, caplog, tmp_path):
    path, (checked, _) = by_table
    with caplog.at_level(logging.WARNING):
        load_datalist(path, reading={"voi_index": 0, "percentiles": [1, 99]})
    assert "other reading options" in caplog.text
    with pytest.raises(DatalistError, match="Mas, which the configuration asks for"):
        load_datalist(path, findings=["Mas"])
    with pytest.raises(DatalistError, match="a report, because reports are trained on"):
        load_datalist(path, ["test"], require_reports=True)
    with pytest.raises(DatalistError, match="fold_7"):
        section_entries(path, "fold_7")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(DatalistError, match="no such file"):
        load_datalist(path, base_dir=elsewhere)
    assert load_datalist(path, check_images=False, reading={"voi_index": 3})["test"][0] == checked["test"][0]


def test_an_image_that_is_gone_is_named_by_the_whole_check(by_table):
    path, _ = by_table
    next(path.parent.rglob("*.dcm")).unlink()
    with pytest.raises(DatalistError, match="there is no such file"):
        load_datalist(path)


def test_a_copy_with_another_time_is_the_same_datalist(by_table):
    path, _ = by_table
    os.utime(path, ns=(5, 5))
    assert table_about(path)["description"] == "two hospitals"


def test_a_datalist_with_faults_leaves_no_table(made):
    path, _ = made
    content = json.loads(path.read_text())
    content["training"][0]["labels"] = {"Effusion": 7}
    path.write_text(json.dumps(content))
    with pytest.raises(DatalistError, match="Effusion"):
        write_checked(path)
    assert not table_of(path).exists()


def test_sections_may_be_empty(document, write):
    path = write({**document, "validation": []})
    write_checked(path)
    module._load_once.cache_clear()
    assert len(datalist_section(path, "validation")) == 0
    path = write({**document, "training": [], "validation": [], "test": []})
    write_checked(path)
    module._load_once.cache_clear()
    assert len(datalist_section(path, "test")) == 0


def test_the_command_says_what_it_did(document, write, capsys):
    path = write(document)
    main(str(path))
    assert f"training: {len(document['training'])} images" in capsys.readouterr().out
    assert table_of(path).is_file()
    write_image(path.parent / document["training"][0]["image"], Modality="CT")
    with pytest.raises(SystemExit, match=r"training\[0\]"):
        main(str(path))
    assert not table_of(path).exists()
    with pytest.raises(SystemExit, match="reading#voi_indx is not known"):
        main(str(path), reading={"voi_indx": 1})


def held():
    """MiB of mapped files in memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_an_epoch_of_many_entries_holds_no_more_than_one_of_few(tmp_path):
    few, many = 1_000, 30_000
    grown = {}
    for number in (few, many):
        folder = tmp_path / str(number)
        (folder / "cxr.h5").parent.mkdir()
        (folder / "cxr.h5").touch()
        (folder / "datalist.json").write_text(json.dumps({"findings": ["Mass"]}))
        entries = [
            {
                **{"image": str(folder / "cxr.h5" / "cxr" / str(n)), "patient_id": f"p{n}", "report": "No mass. " * 60},
                **{"labels": {"Mass": n % 2}, "boxes": [], "drawn": [], "boxed": [], "stored_size": [64, 64]},
            }
            for n in range(number)
        ]
        args = (folder / "datalist.json", {}, ["Mass"], {"training": entries}, folder, ReadingOptions())
        size = write_table(*args).stat().st_size / 2**20
        del entries, args
        gc.collect()
        before = held()
        items = datalist_section(folder / "datalist.json", "training", check_images=False, base_dir=folder)
        for place in np.random.default_rng(0).permutation(number):
            item = items[place]
        assert item["report"].startswith("No mass.")
        grown[number] = held() - before
    assert size > 15
    assert grown[many] < grown[few] + 4, grown
