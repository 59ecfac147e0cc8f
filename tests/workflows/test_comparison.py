"""The comparison as a user starts it: two trainings, a plan, a report; and what it refuses."""

import json

import numpy as np
import pytest

from bundle.comparison.plan import SCALINGS
from bundle.experiments.label_efficiency import FIGURES, SHOWN
from bundle.metrics.registry import unregistered
from tests.tiny import FINDINGS
from tests.workflows.conftest import ROOT

UNSEEING = {
    "no-look marker": "training boxes, no image",
    "atlas x image score": "training boxes, image score only",
}


@pytest.fixture(scope="module")
def compared(trained):
    """The trained place, with a second training without boxes, planned and compared."""
    place = trained
    place.others = place.folder / "others"
    place.run("training", "train", "image_labels_only", ckpt_dir=place.others)
    place.run("evaluating", "train", "evaluate", "compare", **settings(place))
    return place


def settings(place, **more):
    return {
        "replicates": 40,
        "gallery": 3,
        "output_dir": place.folder / "compared",
        "plan_file": place.folder / "compared" / "plan.json",  # not beside weights that other tests package
        "other_ckpt_path": place.others / "model.pt",
        "zero_shot": json.dumps({"fluid": {"finding": "Effusion", "positive": ["fluid"], "negative": ["no fluid"]}}),
        **more,
    }


@pytest.mark.slow
def test_plan_figures_and_report(compared):
    plan = json.loads((compared.folder / "compared" / "plan.json").read_text())
    assert plan["images"] == 5  # validation
    assert len(plan["methods"]) == 11
    assert all(setting["scaling"] in SCALINGS for setting in plan["methods"].values())
    folder = compared.folder / "compared"
    comparison = json.loads((folder / "comparison.json").read_text())
    assert unregistered(comparison) == []
    about = json.loads((folder / "comparison_notes.json").read_text())
    assert about["reference"] == "Patch-CLIP"
    for name, method in about["methods"].items():
        assert (folder / method["folder"] / "records.json").is_file()
        assert f"compare/{name}/mean/sens_at_1fp" in comparison
        assert f"box_ap/{name}/mean/iou_0.3" in comparison
        assert method["supervision"] == UNSEEING.get(name, "none" if "without boxes" in name else "training boxes")
        if name in UNSEEING:
            assert f"compare/{name}/mean/sens_at_1fp/difference/low" in comparison
        else:
            assert f"localization/{name}/mean/pointing" in comparison
            assert all(f"not_localised/{baseline}/{name}" in about["notes"] for baseline in UNSEEING)
    assert set(UNSEEING) < set(about["methods"])
    assert 0 < comparison["localization/chance/mean/pointing"] < 0.2
    metrics = json.loads((folder / "metrics.json").read_text())
    assert unregistered(metrics) == []
    for key in (
        "auroc/mean",
        "ap/mean",
        "calibration/mean/ece",
        "ece/mean",
        "shown/false_marks_per_image",
        "shown/sensitivity",
        "shown/finding_free_marked",
        "retrieval/image_to_report/r_at_1",
        "zero_shot/fluid/auroc",
    ):
        assert key in metrics, key
    # the plan's candidates are the evaluation's: the same method, judged by both ways
    for finding in FINDINGS:
        key = f"{finding}/sens_at_1fp"
        assert metrics[f"froc/{key}"] == comparison[f"compare/Patch-CLIP/{key}"]
    page = (folder / "report.html").read_text()
    assert "Comparison with other methods" in page
    assert "SecretReport" not in page
    assert (folder / "figures" / "comparison.png").is_file()
    assert (folder / "figures" / "reliability.svg").is_file()


@pytest.mark.slow
def test_the_plan_is_kept_and_never_made_on_the_test_section(compared):
    plan = compared.folder / "compared" / "plan.json"
    before = plan.read_bytes(), plan.stat().st_mtime_ns
    compared.run(
        "evaluating", "train", "evaluate", "compare", **settings(compared, output_dir=compared.folder / "again")
    )
    assert (plan.read_bytes(), plan.stat().st_mtime_ns) == before
    again = json.loads((compared.folder / "again" / "comparison.json").read_text())
    assert again == json.loads((compared.folder / "compared" / "comparison.json").read_text())
    frozen = compared.folder / "frozen.json"
    compared.run("freezing", "train", "evaluate", "compare", **settings(compared, plan_file=frozen))
    assert frozen.read_bytes() == before[0]
    changed = compared.folder / "other.json"
    content = json.loads(before[0])
    content["made_for"]["weights"] = "0" * 16
    changed.write_text(json.dumps(content))
    with pytest.raises(AssertionError, match="was made for something else: weights"):
        compared.run("evaluating", "train", "evaluate", "compare", **settings(compared, plan_file=changed))


@pytest.mark.slow
def test_label_efficiency_goes_on_where_it_was(place):
    files = [str(ROOT / "configs/train.json"), str(ROOT / "tests/tiny.json")]
    command = [
        *["label_efficiency", "--config_file", files],
        *["--shares", "1.0,0.5", "--seeds", "0,1", "--output", place.folder / "cells"],
        *["--bundle_root", place.folder, "--dataset_dir", place.data, "--max_epochs", "1"],
    ]

    place.script(*command)
    cells = place.folder / "cells"
    summary = json.loads((cells / "label_efficiency.json").read_text())
    assert list(summary) == ["1", "0.5"]
    for row in summary.values():
        unseeing = [f"froc/mean/sens_at_1fp/{b}" for b in UNSEEING]
        assert list(row) == ["froc/mean/sens_at_1fp", "auroc/mean", *unseeing, "froc/mean/score"]
    assert (cells / "label_efficiency.png").is_file()
    kept = (cells / "share_1_seed_0" / "metrics.json").stat().st_mtime_ns
    (cells / "share_0.5_seed_1" / "metrics.json").unlink()
    output = place.script(*command)
    assert "share_1_seed_0: done already" in output
    assert "| figure | 100% of the boxes | 50% of the boxes |" in output
    assert (cells / "share_1_seed_0" / "metrics.json").stat().st_mtime_ns == kept
    assert json.loads((cells / "label_efficiency.json").read_text()) == summary


@pytest.mark.slow
def test_seeds_with_plans_of_their_own_beside_a_rival(place):
    files = [str(ROOT / "configs/train.json"), str(ROOT / "tests/tiny.json")]
    judging = [str(ROOT / f"configs/{name}.json") for name in ("evaluate", "compare", "patch_maps_alone")]
    place.script(
        *["label_efficiency", "--config_file", files, "--evaluate_file", judging],
        *["--rival_file", str(ROOT / "configs/detector.json"), "--zero_shot", "{}"],
        *["--shares", "1.0", "--seeds", "0,1", "--output", place.folder / "cells"],
        *["--bundle_root", place.folder, "--dataset_dir", place.data, "--max_epochs", "1"],
    )
    cells = place.folder / "cells"
    row = json.loads((cells / "label_efficiency.json").read_text())["1"]
    for key in FIGURES:
        ours, theirs, difference = (row[each] for each in (key, f"{key}/rival", f"{key}/rival/difference"))
        assert difference["seeds"] == pytest.approx(np.subtract(ours["seeds"], theirs["seeds"]))
    for seed in (0, 1):
        folder = cells / f"share_1_seed_{seed}"
        own = json.loads((folder / "metrics.json").read_text())
        assert (folder / "plan.json").is_file()
        for key in SHOWN:
            assert row[key]["seeds"][seed] == own[key]
    for key in SHOWN:
        low, high = row[key]["low"], row[key]["high"]
        assert low is high is None or low <= row[key]["value"] <= high
    assert "saliency" not in (cells / "share_1_seed_0" / "plan.json").read_text()
    other = json.loads((cells / "rival_share_1_seed_0" / "metrics.json").read_text())
    assert other["auroc/mean"] == row["auroc/mean/rival"]["seeds"][0]
