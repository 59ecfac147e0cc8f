"""A user's runs in a checkout that holds what other runs left, of other findings: they neither take it in nor break."""

import json
import shutil

import pytest
import torch

from bundle.checkpoints import save_atomically
from bundle.made_for import ATTRIBUTE
from bundle.metrics.records_io import save_records
from tests.report.cases import FINDINGS, made_records
from tests.tiny import write_tiny_data
from tests.tiny_network import tiny_patch_clip
from tests.workflows.conftest import ROOT, Place

DETECTOR = "left_out/RT-DETR"
MAPS = "left_out/saliency maps of the network trained without boxes"


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A copy of the checkout with products of another run where the configs look for them, and data of one's own."""
    checkout = tmp_path_factory.mktemp("crowded")
    for name in ("bundle", "configs"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    said = {"datalist": "0" * 16, "section": ["test"], "findings": list(FINDINGS)}
    for folder in ("eval/detector/records", "eval/records"):
        save_records(made_records(), checkout / folder, made_for=said)
    weights = tiny_patch_clip(None, text=False, findings=list(FINDINGS)).state_dict()
    setattr(weights, ATTRIBUTE, said | {"section": ["training"]})
    for name in ("model.pt", "image_labels_only/model.pt", "plain_clip/model.pt"):
        (checkout / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        save_atomically(weights, checkout / "models" / name)
    for name in ("eval/comparison.json", "eval/metrics.json", "models/plan.json", "models/image_labels_only/last.pt"):
        (checkout / name).write_text('{"format": 1, "made_for')  # cut short
    write_tiny_data(checkout / "data", seed=7)
    place = Place(tmp_path_factory.mktemp("own"), checkout)
    place.before = products(checkout)
    place.models, place.eval = checkout / "models" / "mine", checkout / "eval" / "mine"
    place.where = {"bundle_root": None, "output_dir": "eval/mine", "ckpt_dir": "models/mine", "cwd": checkout}
    place.run("training", "train", **place.where)
    return place


def products(checkout):
    files = (path for name in ("eval", "models", "data") for path in (checkout / name).rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if "mine" not in path.parts}


def compare(place, **more):
    """The comparison, its first words and what it says of methods that are left out."""
    settings = {"replicates": 0, "gallery": 0, "zero_shot": "{}", **place.where, **more}
    output = place.run("evaluating", "train", "evaluate", "compare", **settings)
    notes = json.loads((place.eval / "comparison_notes.json").read_text())
    return output, notes, {key: why for key, why in notes["notes"].items() if key.startswith("left_out/")}


@pytest.mark.slow
def test_a_comparison_takes_in_its_own_and_says_what_it_leaves_out(crowded):
    output, notes, left_out = compare(crowded)
    assert set(left_out) == {DETECTOR, MAPS}
    assert "eval/detector/records were made for something else: datalist '0000" in left_out[DETECTOR]
    assert "models/image_labels_only/model.pt learnt from something else: datalist '0000" in left_out[MAPS]
    assert all(f"findings {list(FINDINGS)!r} instead of ['Effusion', 'Mass']" in why for why in left_out.values())
    assert all(why in output for why in left_out.values())
    assert not [name for name in notes["methods"] if "without boxes" in name or name == "RT-DETR"]
    assert len(notes["methods"]) == 8  # six with maps, two that see none
    page = (crowded.eval / "report.html").read_text()
    assert "Left out: RT-DETR, because the records at " in page

    # what was made for the same data is taken in: here the run's own records and weights
    shutil.copytree(crowded.eval / "records", crowded.folder / "records")
    (crowded.models / "plan.json").unlink()
    own = {"detector_records": crowded.folder / "records", "other_ckpt_path": crowded.models / "model.pt"}
    _, notes, left_out = compare(crowded, **own)
    assert left_out == {}
    assert len(notes["methods"]) == 14
    figures = json.loads((crowded.eval / "comparison.json").read_text())
    assert figures["compare/RT-DETR/mean/sens_at_1fp"] == figures["compare/Patch-CLIP/mean/sens_at_1fp"]
    assert products(crowded.checkout) == crowded.before


@pytest.mark.slow
def test_a_training_does_not_go_on_from_one_on_other_data(crowded):
    last = torch.load(crowded.models / "last.pt", weights_only=True)
    assert last["data"]["section"] == ["training"]
    write_tiny_data(crowded.folder / "others", seed=1)
    with pytest.raises(AssertionError, match=r"last\.pt learnt from something else: datalist '.*another folder"):
        crowded.run("training", "train", **crowded.where, dataset_dir=crowded.folder / "others", max_epochs=3)
