"""The comparison of systems as a user starts it: every cell, interrupted and continued, and what it sums up."""

import json

import numpy as np
import pytest

from bundle.experiments.systems import BLIND, FIGURES, PLAIN, SYSTEMS
from bundle.experiments.unseeing_rows import FIGURE, NAMES
from tests.workflows.conftest import ROOT


def replicates(cell, figure):
    figures = list(json.loads((cell / "cell.json").read_text())["figures"])
    return np.load(cell / "replicates.npy")[figures.index(figure)]


@pytest.mark.slow
def test_systems_go_on_where_they_were(place):
    output = place.folder / "systems"
    command = ["compare_systems", "--output", output, "--seeds", "0,1"]
    command += ["--config_file", [str(ROOT / "configs/train.json"), str(ROOT / "tests/tiny.json")]]
    command += ["--bundle_root", place.folder, "--dataset_dir", place.data]
    command += ["--max_epochs", "3", "--vqa_epochs", "1"]

    printed = place.script(*command)
    summary = json.loads((output / "systems.json").read_text())
    assert list(summary["systems"]) == list(SYSTEMS)
    for system, figures in summary["systems"].items():
        assert set(FIGURES) <= set(figures), system
        for key, figure in figures.items():
            assert len(figure["seeds"]) == 2
            assert figure["value"] == pytest.approx(np.mean(figure["seeds"])), key
            assert figure["low"] is figure["high"] is None or figure["low"] < figure["high"], key
        assert set(summary["differences"][system]) == {*SYSTEMS, BLIND, *NAMES} - {system}
        for name in NAMES:
            theirs, difference = figures[f"{FIGURE}/{name}"], summary["differences"][system][name][FIGURE]
            assert difference["value"] == pytest.approx(figures[FIGURE]["value"] - theirs["value"])
            assert difference["low"] is None or difference["low"] <= difference["value"] <= difference["high"]
    marker = [figures[f"{FIGURE}/{NAMES[0]}"]["seeds"] for figures in summary["systems"].values()]
    assert np.ptp(marker) == 0  # no look, no system, no seed
    plain, other = (summary["systems"][name]["auroc/mean"]["value"] for name in (PLAIN, "regionmed_clip"))
    assert summary["differences"]["regionmed_clip"][PLAIN]["auroc/mean"]["value"] == pytest.approx(other - plain)
    assert "| figure | plain CLIP | Patch-CLIP | Region-Aware MedCLIP | RegionMed-CLIP |" in printed
    for system in SYSTEMS:
        mine, blind = summary["systems"][system], summary["differences"][system][BLIND]
        assert {"vqa/accuracy", "vqa/accuracy/presence", "vqa/accuracy/location"} <= set(blind)
        for key, difference in blind.items():
            other = summary["systems"][PLAIN][f"{key}/{BLIND}"]["value"]
            assert difference["value"] == pytest.approx(mine[key]["value"] - other), key
    assert "| questions | language only | plain CLIP |" in printed
    assert "SecretReport" not in printed
    assert not any("SecretReport" in path.read_text() for path in output.rglob("*.json"))

    blind = [
        replicates(output / f"{system}_seed_{seed}", "regions/accuracy/blind") for system in SYSTEMS for seed in (0, 1)
    ]
    assert all(np.array_equal(one, blind[0]) for one in blind)  # by the words alone: the same draws in every cell
    assert blind[0].std() > 0

    with pytest.raises(AssertionError, match="vqa_epochs: then 1, now 2"):
        place.script(*command[:-1], "2")

    kept = (output / "plain_clip_seed_0" / "cell.json").stat().st_mtime_ns
    (output / "regionmed_clip_seed_1" / "cell.json").unlink()
    printed = place.script(*command)
    assert "plain_clip_seed_0: done already" in printed
    assert (output / "plain_clip_seed_0" / "cell.json").stat().st_mtime_ns == kept
    assert json.loads((output / "systems.json").read_text()) == summary
