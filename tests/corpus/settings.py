"""Overrides of a configuration, checkpoints, plans, records, and what is submitted to the label server."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle.scripts import run
from torch import nn

from bundle.checkpoints import load_weights, read_last
from bundle.frozen_plan import FORMAT, plan_of_weights, read_plan
from bundle.label.drawn import check_submitted, drawn_entry, known_entries, segment_boxes
from bundle.label.masks import NOTED
from bundle.metrics.records import CandidateRecords, ImageRecords, LesionRecords, Records
from bundle.metrics.records_io import load_records, records_made_for, save_records
from bundle.networks.local_normalisation import LocalNormalisation
from bundle.transforms import AugmentRadiographd, OtherMachined, RandomPhotometry
from tests.corpus.bad import Bad
from tests.corpus.radiographs import edited, whole
from tests.reading.plain_files import png

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "configs" / "train.json"
FINDINGS = ["Effusion", "Mass"]


class Net(nn.Module):
    """A network small enough to be made for every case."""

    def __init__(self, findings: int = 2) -> None:
        super().__init__()
        self.body, self.heads = nn.Linear(4, 4), nn.Linear(4, findings)


class Shell:
    """What would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


@cache
def state() -> dict[str, torch.Tensor]:
    """Good weights by name."""
    return Net().state_dict()


def weights() -> bytes:
    """A file of them."""
    return saved(state())


def saved(content: Any) -> bytes:
    """What torch.save writes."""
    out = BytesIO()
    torch.save(content, out)
    return out.getvalue()


def code_in_archive() -> bytes:
    """Weights whose pickle calls a function."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(weights())) as good, zipfile.ZipFile(out, "w") as bad:
        for name in good.namelist():
            content = pickle.dumps(Shell(), 2) if name.endswith("data.pkl") else good.read(name)
            bad.writestr(name, content)
    return out.getvalue()


def checkpoints() -> Iterator[Bad]:
    """Files of weights."""
    good = weights()
    flipped = bytearray(good)
    flipped[good.index(state()["body.bias"].numpy().tobytes())] ^= 4
    contents: dict[str, bytes] = {
        "another number of findings": saved(Net(3).state_dict()),
        "another architecture": saved(nn.Conv2d(1, 2, 3).state_dict()),
        "a part of it": saved({name: value for name, value in state().items() if "heads" in name}),
        "more than it": saved({**state(), "extra": torch.zeros(2)}),
        "values that are NaN": saved({name: value * float("nan") for name, value in state().items()}),
        "values that are infinite": saved({name: value / 0 for name, value in state().items()}),
        "a list": saved([torch.zeros(2)]),
        "a tensor": saved(torch.zeros(2)),
        "texts": saved(dict.fromkeys(state(), "weights")),
        "a whole network": saved(Net()),
        "a checkpoint to resume from": saved({"format": 1, "network": state(), "optimizer": {}}),
        "code in its pickle": code_in_archive(),
        "a pickle": pickle.dumps({"body.weight": [1.0]}, 2),
        "a pickle with code": pickle.dumps(Shell(), 2),
        "a text": b"no weights",
        "empty": b"",
        "a ZIP archive of others": b"PK\x05\x06" + bytes(18),
        "a flipped bit": bytes(flipped),
        **{f"cut at {share:.0%}": good[: int(share * len(good))] for share in (0.01, 0.3, 0.6, 0.99)},
    }

    def of(content: bytes) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            (folder / "model.pt").write_bytes(content)
            return lambda: load_weights(Net(), folder / "model.pt")

        return prepare

    for name, content in contents.items():
        yield Bad(f"weights, {name}", of(content), ("model.pt",))
    yield Bad("weights, none", lambda folder: lambda: load_weights(Net(), folder / "model.pt"), ("model.pt",))

    def both(folder: Path) -> Callable[[], Any]:
        (folder / "last.pt").write_bytes(good[:200])
        (folder / "last_but_one.pt").write_bytes(good[:-100])
        return lambda: read_last(folder / "last.pt")

    yield Bad("checkpoints, both damaged", both, ("last_but_one.pt",))


PLAN = {"format": FORMAT, "made_for": {"findings": FINDINGS}, "score": "image", "points": {}}
PLANS: dict[str, str | bytes] = {
    "half of it": json.dumps(PLAN)[:40],
    "empty": "",
    "a list": "[]",
    "another format": json.dumps(PLAN | {"format": 1}),
    "no purpose": json.dumps({"format": FORMAT}),
    "a purpose in words": json.dumps(PLAN | {"made_for": "these weights"}),
    "other findings": json.dumps(PLAN | {"made_for": {"findings": ["Nodule"]}}),
    "no UTF-8": "{}".encode("utf-16"),
}


def plans() -> Iterator[Bad]:
    """plan.json."""

    def of(content: str | bytes, use: Callable[[Path], Any]) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            (folder / "model.pt").write_bytes(weights())
            (folder / "plan.json").write_bytes(content if isinstance(content, bytes) else content.encode())
            return lambda: use(folder)

        return prepare

    for name, content in PLANS.items():
        yield Bad(
            f"plan, {name}", of(content, lambda at: read_plan(at / "plan.json", {"findings": FINDINGS})), ("plan.json",)
        )
        yield Bad(
            f"plan of weights, {name}",
            of(content, lambda at: plan_of_weights(at / "plan.json", at / "model.pt", FINDINGS)),
            ("plan.json",),
        )
    yield Bad("plan, none", lambda folder: lambda: read_plan(folder / "plan.json", {}), ("plan.json", "no plan"))


OVERRIDES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a letter too many": ({"val_intervall": 5}, ("val_intervall", "val_interval")),
    "another case": ({"Batch_size": 5}, ("Batch_size", "batch_size")),
    "a key in the wrong place": ({"criterion": "iou"}, ("criterion",)),
    "tracking's": ({"tracking_uri": "x"}, ("tracking_uri",)),
    "a key of nothing": ({"zzz": 1}, ("zzz",)),
    "on_bad_images": ({"on_bad_images": "skip"}, ("on_bad_images", "on_bad_image")),
    "a batch size of words": ({"batch_size": "many"}, ("batch_size", "'many'")),
    "half a batch": ({"batch_size": 2.5}, ("batch_size", "2.5")),
    "a truth as number": ({"max_epochs": True}, ("max_epochs", "True")),
    "a rate of words": ({"learning_rate": "fast"}, ("learning_rate", "'fast'")),
    "a share of words": ({"max_bad_share": "5%"}, ("max_bad_share", "'5%'")),
    "a folder as number": ({"dataset_dir": 202401}, ("dataset_dir", "202401")),
    "a folder as list": ({"output_dir": ["a"]}, ("output_dir",)),
    "a checkpoint as number": ({"init_checkpoint": 7}, ("init_checkpoint", "7")),
    "a datalist as null": ({"datalist": None}, ("datalist",)),
    "a text as number": ({"training_section": 3}, ("training_section", "3")),
    "a list as text": ({"trainable": "heads"}, ("trainable", "'heads'")),
    "a section as number": ({"reading": 5}, ("reading", "5")),
    "a section as text": ({"candidates": "all"}, ("candidates", "'all'")),
    "a number in a section": ({"candidates::floor": "low"}, ("candidates::floor", "'low'")),
    "a switch in a section": ({"reading#isolated": "no"}, ("reading::isolated", "'no'")),
}


SECTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "augmentation": (lambda section: AugmentRadiographd(ranges=section), "rotated"),
    "photometric": (lambda section: RandomPhotometry(ranges=section), "noisy"),
    "other_machine": (lambda section: OtherMachined(ranges=section), "blurred"),
    "local_normalisation": (LocalNormalisation.of, "gains"),
}


def sections() -> Iterator[Bad]:
    """Keys of sections that are handed over whole, as the components that get them look at them."""

    def of(make: Callable[..., Any], key: str) -> Callable[[Path], Callable[[], Any]]:
        return lambda _: lambda: make({key: 1.0})

    for name, (make, key) in SECTIONS.items():
        yield Bad(f"{name}#{key}", of(make, key), (f"{name}#{key} is not known",))


def overrides() -> Iterator[Bad]:
    """What a command line says to train.json, as the first entry of its run list looks at it."""

    def of(given: dict[str, Any]) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            (folder / "train.json").write_bytes(TRAIN.read_bytes())
            checking = [{"_target_": "bundle.guard.refuse_unknown_overrides"}]
            command = {"config_file": [str(folder / "train.json")], "run_id": "checking", "init_id": "none"}
            return lambda: run(**command, checking=checking, bundle_root=str(folder), **given)

        return prepare

    for name, (given, said) in OVERRIDES.items():
        yield Bad(f"override, {name}", of(given), said)


def records() -> Records:
    """Of two images and two findings, a lesion and a candidate."""
    return Records(
        findings=("Effusion", "Mass"),
        criterion="centre",
        images=ImageRecords(
            index=np.array([0, 1]),
            group=np.array([0, 1]),
            label=np.array([[1.0, 0], [0, 1]]),
            status=np.array([[1, 1], [1, 1]]),
            patch_area=np.array([4.0, 4]),
            pixel_mm=np.full((2, 2), np.nan),
            scores={"image": np.array([[0.9, 0.1], [0.2, 0.8]])},
        ),
        lesions=LesionRecords(
            index=np.array([0]),
            finding=np.array([0]),
            lesion=np.array([0]),
            score=np.array([0.9]),
            box=np.array([[1.0, 2, 3, 4]]),
            oracle=np.array([np.nan]),
            cnr=np.array([np.nan]),
        ),
        candidates=CandidateRecords(
            index=np.array([0]),
            finding=np.array([0]),
            score=np.array([0.9]),
            peak=np.array([[2.0, 3]]),
            box=np.array([[1.0, 2, 3, 4]]),
            lesion=np.array([0]),
        ),
    )


RECORDS: dict[str, tuple[str, Callable[[str], str | bytes | None], str]] = {
    "no header": ("records.json", lambda text: None, ""),
    "half a header": ("records.json", lambda text: text[:30], "records.json"),
    "an empty header": ("records.json", lambda text: "", "records.json"),
    "a list as header": ("records.json", lambda text: "[]", "records"),
    "no UTF-8": ("records.json", lambda text: text.encode("utf-16"), "records.json"),
    "another version": ("records.json", lambda text: text.replace('"version": 2', '"version": 9'), "version 9"),
    "no findings": ("records.json", lambda text: text.replace('"findings"', '"finding"'), "findings"),
    "more images": ("records.json", lambda text: text.replace('"images": 2', '"images": 3'), "images.csv"),
    "no table": ("lesions.csv", lambda text: None, "lesions.csv"),
    "an empty table": ("lesions.csv", lambda text: "", ""),
    "a row cut": ("candidates.csv", lambda text: text[:-12], "candidates.csv"),
    "a row less": ("images.csv", lambda text: text[: text.rindex("\n", 0, -1) + 1], "images.csv"),
    "another finding": ("images.csv", lambda text: text.replace("Mass", "Masses"), "Masses"),
    "a score of words": ("images.csv", lambda text: text.replace("0.9", "high"), "images.csv"),
    "an index of words": ("lesions.csv", lambda text: text.replace("\n0,", "\nzero,"), "lesions.csv"),
    "a label of 3": ("images.csv", lambda text: text.replace(",1.0,", ",3.0,", 1), "labels"),
    "a status of its own": ("images.csv", lambda text: text.replace("boxed", "drawn"), "images.csv"),
    "an image that is not there": ("lesions.csv", lambda text: text.replace("\n0,", "\n7,"), "lesions"),
    "a score that is infinite": ("candidates.csv", lambda text: text.replace("0.9", "inf"), "score"),
    "no column": ("lesions.csv", lambda text: text.replace("oracle", "oracles"), "oracle"),
    "NULs in a table": ("lesions.csv", lambda text: "\0" * 50, "lesions.csv"),
    "a picture as table": ("images.csv", lambda text: whole(), "images.csv"),
}


def reports() -> Iterator[Bad]:
    """The records of an evaluation, from which every report is drawn again."""

    def of(file: str, change: Callable[[str], str | bytes | None], use: Callable[[Path], Any]) -> Any:
        def prepare(folder: Path) -> Callable[[], Any]:
            save_records(records(), folder / "records")
            path = folder / "records" / file
            new = change(path.read_text())
            path.unlink()
            if new is not None:
                path.write_bytes(new if isinstance(new, bytes) else new.encode())
            return lambda: use(folder / "records")

        return prepare

    for name, (file, change, said) in RECORDS.items():
        yield Bad(f"records, {name}", of(file, change, load_records), ("records", said))
        if file == "records.json" and name not in ("another version", "no findings", "more images"):
            yield Bad(f"records' purpose, {name}", of(file, change, records_made_for), ("records.json",))
    yield Bad(
        "records, an absolute name",
        lambda folder: lambda: save_records(records(), folder, {0: "/data/a.dcm"}),
        ("/data/a.dcm", "relative"),
    )


MASK = np.zeros((48, 64), np.uint8)
MASK[10:20, 10:20] = 1
NAMED = [{"name": "Effusion", "idx": 1}]
INFOS: dict[str, tuple[dict[str, Any], str]] = {
    "notes as text": ({"label_info": "Effusion"}, "label_info"),
    "another finding": ({"label_info": [{"name": "Nodule", "idx": 1}]}, "'Nodule'"),
    "no name": ({"label_info": [{"idx": 1}]}, "''"),
    "a segment as text": ({"label_info": ["Effusion"]}, "segments must be called"),
    "an index of words": ({"label_info": [{"name": "Mass", "idx": "one"}]}, "'one'"),
    "an index twice": ({"label_info": [{"name": "Mass", "idx": 1}, {"name": "Effusion", "idx": 1}]}, "idx"),
    "an index of truth": ({"label_info": [{"name": "Mass", "idx": True}]}, "idx"),
    "101 segments": ({"label_info": [{"name": "Mass", "idx": n} for n in range(1, 102)]}, "101"),
    "absent as text": ({"label_info": NAMED, "absent": "Mass"}, "absent"),
    "absent of nothing known": ({"label_info": NAMED, "absent": ["Nodule"]}, "Nodule"),
}


SUBMITTED: dict[str, tuple[dict[str, Any], bool, str]] = {
    "no notes": ({}, True, "label_info"),
    "notes of another mask": ({"label_info": NAMED, NOTED: "0" * 64}, True, "notes"),
    "no radiograph": ({"label_info": NAMED}, False, "radiograph is away"),
    "another radiograph": ({"label_info": NAMED, "image_sha256": "0" * 64}, True, "has changed"),
}
STUDIES: dict[str, str | bytes] = {
    "half of it": '{"training": [',
    "a list": "[]",
    "no UTF-8": "{}".encode("utf-16"),
}
META = b"ObjectType = Image\nNDims = 2\nDimSize = 64 48\nElementType = MET_UCHAR\nElementDataFile = /etc/hostname\n"
NRRD = b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 64 48\n"


def masks() -> Iterator[Bad]:
    """What is submitted to the label server: masks and their notes."""
    good = png(MASK)
    files: dict[str, tuple[str, bytes, str]] = {
        "a text": ("m.png", b"a mask", ""),
        "empty": ("m.png", b"", ""),
        "cut": ("m.png", good[:60], ""),
        "of another size": ("m.png", png(MASK[:40]), "(64, 40)"),
        "of a value that is no segment": ("m.png", png(MASK * 7), "7"),
        "of an unknown kind": ("m.bmp", b"BM" + bytes(90), ".nii.gz"),
        "a NIfTI that is none": ("m.nii.gz", b"\x1f\x8b" + bytes(90), ""),
        "pixels elsewhere": ("m.mha", META, "another file"),
        "pixels elsewhere, NRRD": ("m.nrrd", NRRD + b"data file: secret.raw\n\n", "another file"),
        "huge by its header": ("m.nrrd", NRRD.replace(b"64 48", b"60000 60000") + b"encoding: raw\n\n", "pixels"),
        "colours": ("m.png", png(np.dstack([MASK] * 3), colour=2), ""),
    }

    def put(folder: Path, name: str, content: bytes, radiograph: bytes | None = None) -> tuple[Path, Path]:
        (folder / "a.dcm").write_bytes(radiograph or whole())
        (folder / name).write_bytes(content)
        return folder / name, folder / "a.dcm"

    def drawn(name: str, content: bytes, radiograph: bytes | None = None) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            at = put(folder, name, content, radiograph)
            return lambda: segment_boxes(*at, {1: "Effusion"})

        return prepare

    def noted(info: dict[str, Any]) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            mask, radiograph = put(folder, "m.png", good)
            return lambda: drawn_entry(radiograph, mask, info, FINDINGS, {})

        return prepare

    def submitted(info: dict[str, Any], there: bool) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            mask, radiograph = put(folder, "m.png", good)
            if not there:
                radiograph.unlink()
            return lambda: check_submitted(info, radiograph, mask)

        return prepare

    def studies(text: str | bytes) -> Callable[[Path], Callable[[], Any]]:
        def prepare(folder: Path) -> Callable[[], Any]:
            (folder / "datalist.json").write_bytes(text if isinstance(text, bytes) else text.encode())
            return lambda: known_entries(folder)

        return prepare

    for name, (file, content, said) in files.items():
        yield Bad(f"mask, {name}", drawn(file, content), ("mask", said))
    yield Bad("mask, on a hand", drawn("m.png", good, edited(BodyPartExamined="HAND")), ("HAND",))
    for name, (info, said) in INFOS.items():
        yield Bad(f"notes, {name}", noted(info), (said,))
    for name, (info, there, said) in SUBMITTED.items():
        yield Bad(f"submission, {name}", submitted(info, there), (said,))
    for name, text in STUDIES.items():
        yield Bad(f"studies' datalist, {name}", studies(text), ("datalist.json",))
