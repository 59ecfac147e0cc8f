"""Images that cannot be read: the training stops, or goes on without them, lists them and says so."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.data.bad_images import BadImages
from bundle.data.datalist import DatalistError, datalist_section, write_checked
from bundle.data.datalist_text import table_of
from bundle.data.inputs import radiograph_files
from bundle.data.texts import text_data
from tests.forked_ranks import run_ranks
from tests.tiny import FINDINGS, write_tiny_data
from tests.workflows.conftest import Place

ABSENT, CUT, DAMAGED, LATERAL = 1, 4, 7, 9
BAD = [ABSENT, CUT, DAMAGED, LATERAL]


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    """The tiny data; of its 12 images to train on, four are bad, one of them in its pixels alone."""
    path = write_tiny_data(tmp_path / "data")
    spoil(path)
    return path


def spoil(path: Path) -> None:
    """Makes four images of the training section bad, each in its way."""
    images = path.parent / "images"
    (images / f"{ABSENT:03d}.dcm").unlink()
    whole = (images / f"{CUT:03d}.dcm").read_bytes()
    (images / f"{CUT:03d}.dcm").write_bytes(whole[:-1000])
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 112), np.uint8)).save(images / "pixels.png")
    png = bytearray((images / "pixels.png").read_bytes())
    png[len(png) // 2] ^= 255  # its header is whole
    (images / "pixels.png").write_bytes(png)
    Image.fromarray(np.arange(40 * 8, dtype=np.uint16).reshape(8, 40)).save(images / "long.png")
    document = json.loads(path.read_text())
    for place, name in ((DAMAGED, "pixels.png"), (LATERAL, "long.png")):
        document["training"][place] |= {"image": f"images/{name}", "boxes": [], "boxed": []}
    path.write_text(json.dumps(document))


def section(path: Path, bad_images: BadImages | None = None, **more: Any) -> Any:
    return datalist_section(path, "training", FINDINGS, bad_images=bad_images, **more)


def test_by_default_they_are_faults_of_the_datalist(datalist: Path, tmp_path: Path) -> None:
    for choice in (None, BadImages(folder=tmp_path / "out")):
        with pytest.raises(DatalistError) as caught:
            section(datalist, choice)
        assert [fault.where.partition(" ")[0] for fault in caught.value.faults] == [
            f"training[{n}]"
            for n in (ABSENT, CUT, LATERAL)  # what pixels show, shows when they are read
        ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_they_are_listed_and_the_others_stay_what_they_are(
    datalist: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    state = torch.get_rng_state()
    choice = BadImages("skip", 0.5, tmp_path / "out", workers)
    items = section(datalist, choice)
    assert torch.equal(torch.get_rng_state(), state)
    good = [n for n in range(12) if n not in BAD]
    assert [item["index"] for item in items] == good
    assert [Path(item["image"]).name for item in items] == [f"{n:03d}.dcm" for n in good]
    assert choice.left_out == {"training": BAD}
    table = tmp_path / "out" / "unreadable_training.json"
    listed = json.loads(table.read_text())
    assert [row["index"] for row in listed] == BAD
    assert [row["file"] for row in listed] == [
        "images/001.dcm",
        "images/004.dcm",
        "images/pixels.png",
        "images/long.png",
    ]
    for row, word in zip(listed, ("no such file", "cut short", "PNG", "no chest radiograph"), strict=True):
        assert word in row["reason"]
    text = table.read_text() + caplog.text
    assert f"4 of the 12 images of training (33.33%) cannot be read and are left out (on_bad_image); {table}" in text
    for secret in ("SECRET", "Secret", "patient-"):
        assert secret not in text


def test_above_the_share_it_stops_and_leaves_the_list(datalist: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"4 of the 12 .*33.33%.*max_bad_share allows \(0\.3\).*images/001\.dcm: there"
    ):
        section(datalist, BadImages("skip", 0.3, tmp_path))
    assert len(json.loads((tmp_path / "unreadable_training.json").read_text())) == 4


def test_a_fault_of_the_datalist_is_no_image_to_skip(datalist: Path, tmp_path: Path) -> None:
    document = json.loads(datalist.read_text())
    document["training"][0]["image"] = "../elsewhere.dcm"
    document["training"][2]["boxes"][0]["box"] = [0, 0, 9999, 5]
    datalist.write_text(json.dumps(document))
    with pytest.raises(DatalistError) as caught:
        section(datalist, BadImages("skip", 1.0, tmp_path))
    assert [fault.field for fault in caught.value.faults] == ["image", "boxes[0].box"]


def test_it_holds_for_a_checked_table_and_for_texts(tmp_path: Path) -> None:
    path = write_tiny_data(tmp_path / "data")
    whole = [item["index"] for item in section(path)]
    write_checked(path)
    broken = bytearray((tmp_path / "data" / "images" / "003.dcm").read_bytes())
    where = broken.index(b"MONOCHROME2")
    broken[where : where + 11] = b"MONOCHROMEX"
    stamp = (tmp_path / "data" / "images" / "003.dcm").stat()
    (tmp_path / "data" / "images" / "003.dcm").write_bytes(broken)
    os.utime(tmp_path / "data" / "images" / "003.dcm", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert table_of(path).is_file()  # and says nothing of it
    choice = BadImages("skip", 0.5, tmp_path)
    items = section(path, choice)
    assert [items[n]["index"] for n in range(len(items))] == [n for n in whole if n != 3]
    assert items[-1]["index"] == 11
    data = text_data(path, ["training"], FINDINGS, bad_images=choice)
    assert [item["index"] for item in data["training"]] == [n for n in whole if n != 3]
    assert [data.texts[item["report_id"]][-14:] for item in data["training"]][3] == "SecretReport4."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ignore",), 'on_bad_image is \'ignore\'; wanted "raise" or "skip"'),
        (("skip", 5, "out"), "max_bad_share is 5; wanted a share, 0 to 1"),
        (("skip", True, "out"), "max_bad_share is True"),
        (("skip", 0.5, "out", 0, True), "for training and inference: figures are of every image"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BadImages(*arguments)


def ranks(rank: int, datalist: Path, out: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{out / 'meet'}", rank=rank, world_size=2)
    items = section(datalist, BadImages("skip", 0.5, out))
    (out / f"rank{rank}.json").write_text(json.dumps([item["index"] for item in items]))
    torch.distributed.destroy_process_group()


def test_several_processes_read_a_part_each_and_take_the_same(datalist: Path, tmp_path: Path) -> None:
    run_ranks(ranks, datalist, tmp_path)
    one, two = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert one == two == [n for n in range(12) if n not in BAD]
    assert [row["index"] for row in json.loads((tmp_path / "unreadable_training.json").read_text())] == BAD


def test_inference_has_the_same_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_tiny_data(tmp_path / "data", {"training": 4}).parent / "images"
    (folder / "000.dcm").write_bytes((folder / "000.dcm").read_bytes()[:-1000])
    (folder / "README.txt").write_text("no image, and no bad one")
    caplog.set_level(logging.ERROR)
    table = tmp_path / "unreadable.json"
    assert len(radiograph_files(folder, unreadable=table, max_bad_share=0.25)) == 3
    listed = table.read_text()
    assert [row["file"] for row in json.loads(listed)] == ["000.dcm", "README.txt"]
    for choice, said in (
        (
            {"max_bad_share": 0.2},
            r"1 of 4 images cannot be read \(25\.00%\), and max_bad_share is 0\.2; the first.*000",
        ),
        ({"on_bad_image": "raise"}, 'and on_bad_image is "raise"'),
        ({"on_bad_image": "stop"}, "on_bad_image is 'stop'"),
    ):
        table.write_text("")
        with pytest.raises(ValueError, match=said):
            radiograph_files(folder, unreadable=table, **choice)
        assert table.read_text() == ("" if "stop" in str(choice) else listed)
    (folder / "000.dcm").unlink()
    assert len(radiograph_files(folder, on_bad_image="raise")) == 3


@pytest.mark.slow
def test_the_real_training_goes_on_without_them_and_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path)
    spoil(place.data / "datalist.json")
    settings: dict[str, Any] = {"on_bad_image": "skip", "max_bad_share": 0.4, "batch_size": 2, "boxed_in_batch": 0.5}
    place.run("training", "train", max_epochs=1, **settings)
    first = place.models / "last.pt"
    assert torch.load(first, weights_only=True)["left_out"] == {"training": BAD}
    output = place.run("training", "train", max_epochs=2, **settings)
    assert "Resuming after epoch 1 of 2" in output
    assert output.rstrip().endswith("Trained without 4 images of training that cannot be read (on_bad_image).")
    assert json.loads((place.eval / "unreadable_validation.json").read_text()) == []
    (place.data / "images" / "000.dcm").write_bytes(b"")
    with pytest.raises(AssertionError, match=r"left 4 images out.*now 5 cannot"):
        place.run("training", "train", max_epochs=3, max_bad_share=0.5, on_bad_image="skip", batch_size=2)
    with pytest.raises(AssertionError, match="figures are of every image"):
        place.run("evaluating", "train", "evaluate", on_bad_image="skip")
