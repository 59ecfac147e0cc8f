"""A comparison takes in what was made for its own data, and says of all else why it does not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.checkpoints import save_atomically
from bundle.comparison import other_network
from bundle.comparison.elsewhere import records_elsewhere
from bundle.made_for import ATTRIBUTE, differing, made_for
from bundle.metrics.records import Records
from bundle.metrics.records_io import load_records, save_records
from tests.report.cases import made_records
from tests.tiny_network import tiny_patch_clip


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """What the evaluation is for."""
    (tmp_path / "datalist.json").write_text("{}")
    return made_for(tmp_path / "datalist.json", "test", ["Effusion", "Mass & <co>", "Nodule"])


@pytest.fixture
def reference() -> Records:
    return made_records()


def taken(folder: Path, data: dict[str, Any], reference: Records) -> tuple[Records | None, str]:
    return records_elsewhere("RT-DETR", folder / "records", data, reference)


def test_a_datalist_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    for name, content in (("a", "{}"), ("b", "{}"), ("c", "{ }")):
        (tmp_path / name).write_text(content)
    a, b, c = (made_for(tmp_path / name, "test", ["Mass"]) for name in "abc")
    assert differing(a, b) == ""
    assert differing(json.loads(json.dumps(c)), a).startswith("datalist ")
    assert differing(a, made_for(tmp_path / "a", ["test"], ["Mass"])) == ""
    assert differing(a, made_for(tmp_path / "a", ["fold_0", "fold_1"], ["Mass"])) == (
        "section ['test'] instead of ['fold_0', 'fold_1']"
    )
    for foreign in (None, [], "test"):
        assert differing(foreign, a) == "it does not say for what"


def test_records_of_the_same_data_are_taken_and_say_what_they_are_for(
    tmp_path: Path, data: dict[str, Any], reference: Records, caplog: pytest.LogCaptureFixture
) -> None:
    save_records(made_records(), tmp_path / "records", made_for=data)
    records, why = taken(tmp_path, data, reference)
    assert why == ""
    assert records is not None
    assert records.findings == reference.findings
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"datalist": "0" * 16}, "made for something else: datalist '0000000000000000' instead of"),
        ({"section": ["validation"]}, r"section \['validation'\] instead of \['test'\]"),
        ({"findings": ["Mass"]}, r"findings \['Mass'\] instead of"),
        (None, "made for something else: it does not say for what"),
    ],
)
def test_records_of_other_data_are_left_out(
    tmp_path: Path,
    data: dict[str, Any],
    reference: Records,
    change: dict[str, Any] | None,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_records(made_records(), tmp_path / "records", made_for=None if change is None else data | change)
    records, why = taken(tmp_path, data, reference)
    assert records is None
    assert re.search(told, why)
    assert f"RT-DETR is left out of the comparison: {why}." in caplog.text


def header(folder: Path) -> Path:
    return folder / "records.json"


def without(key: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads(header(folder).read_text())
        del content[key]
        header(folder).write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda folder: header(folder).unlink(),
        lambda folder: header(folder).write_text(""),
        lambda folder: header(folder).write_text("[1, 2]"),
        lambda folder: header(folder).write_bytes(b"\xff\xfe\x00PK"),
        without("images"),
        without("findings"),
        without("criterion"),
        without("version"),
        lambda folder: (folder / "candidates.csv").unlink(),
        lambda folder: (folder / "candidates.csv").write_text(""),
        lambda folder: (folder / "images.csv").write_bytes((folder / "images.csv").read_bytes()[:-40]),
        lambda folder: (folder / "lesions.csv").write_text("a,b\n1,2\n"),
        lambda folder: (folder / "candidates.csv").write_bytes(b"\xff\x00\xfe"),
    ],
)
def test_half_written_and_foreign_records_are_left_out(
    tmp_path: Path, data: dict[str, Any], reference: Records, damage: Callable[[Path], object]
) -> None:
    save_records(made_records(), tmp_path / "records", made_for=data)
    damage(tmp_path / "records")
    records, why = taken(tmp_path, data, reference)
    assert records is None
    assert str(tmp_path / "records") in why


def test_records_judged_otherwise_are_left_out(tmp_path: Path, data: dict[str, Any], reference: Records) -> None:
    save_records(replace(made_records(), criterion="iou"), tmp_path / "records", made_for=data)
    assert "were judged otherwise: " in taken(tmp_path, data, reference)[1]
    save_records(made_records(images=20), tmp_path / "records", made_for=data)
    assert "only one of them was judged on images 20" in taken(tmp_path, data, reference)[1]


def test_records_without_a_word_of_their_data_are_read_as_before(tmp_path: Path) -> None:
    save_records(made_records(), tmp_path)
    assert "made_for" not in json.loads(header(tmp_path).read_text())
    assert load_records(tmp_path).findings == made_records().findings


LEARNT = {"datalist": "a" * 16, "section": ["training"], "findings": ["Effusion", "Mass", "Nodule"]}


def weights(path: Path, said: dict[str, Any] | None = LEARNT, seed: int = 0, **sizes: Any) -> Path:
    state = tiny_patch_clip(None, seed, text=False, **sizes).state_dict()
    setattr(state, ATTRIBUTE, said)
    save_atomically(state, path)
    return path


def test_weights_that_learnt_from_the_same_data_are_taken(tmp_path: Path) -> None:
    network = tiny_patch_clip(None, seed=5, text=False)
    found = other_network(network, weights(tmp_path / "b.pt", seed=3), weights(tmp_path / "a.pt"), LEARNT)
    assert found == (network, tmp_path / "b.pt", "")
    wanted = tiny_patch_clip(None, seed=3, text=False).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


def test_what_the_reference_learnt_from_counts_where_it_says_so(tmp_path: Path) -> None:
    elsewhere = LEARNT | {"datalist": "b" * 16}
    network = tiny_patch_clip(None, text=False)
    both = weights(tmp_path / "a.pt", elsewhere), weights(tmp_path / "b.pt", elsewhere)
    assert other_network(network, both[1], both[0], LEARNT).network is network
    silent = weights(tmp_path / "silent.pt", None)
    assert "datalist" in other_network(network, both[1], silent, LEARNT).left_out
    assert other_network(network, weights(tmp_path / "c.pt"), silent, LEARNT).network is network


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "there are no weights at"),
        (lambda path: path.write_bytes(b""), "cannot be used"),
        (lambda path: path.write_bytes(b"PK\x03\x04 no such archive"), "cannot be used"),
        (lambda path: path.write_text("weights"), "cannot be used"),
        (lambda path: path.write_bytes(weights(path).read_bytes()[:-500]), "cannot be used"),
        (lambda path: weights(path, None), "learnt from something else: it does not say for what"),
        (lambda path: weights(path, LEARNT | {"datalist": "b" * 16}), "learnt from something else: datalist 'bbbb"),
        (lambda path: weights(path, LEARNT | {"section": ["test"]}), r"section ['test'] instead of ['training']"),
        (lambda path: weights(path, LEARNT | {"findings": ["Mass"]}), r"findings ['Mass'] instead of"),
        (lambda path: weights(path, layers=2), "does not fit this network"),
    ],
)
def test_weights_that_do_not_belong_here_are_left_out(
    tmp_path: Path, make: Callable[[Path], object], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    reference = weights(tmp_path / "reference.pt")
    make(tmp_path / "other.pt")
    found = other_network(tiny_patch_clip(None, text=False), tmp_path / "other.pt", reference, LEARNT)
    assert found[:2] == (None, None)
    assert told in found.left_out
    assert "\n" not in found.left_out
    assert f"left out of the comparison: {found.left_out}." in caplog.text
