"""The simulator's stages: what JSON can set, and what it changes."""

import numpy as np
import pytest

from bundle.data.demo.exposure import collimation, draw_exposure
from bundle.data.demo.stages import Presentation, Processing, Stages


def test_json_sets_fields_and_the_rest_is_version_3():
    stages = Stages.of({"_desc_": "less", "detector": {"dose": [0.1, 1.0]}, "presentation": {"collimated": 1.0}})
    assert stages.detector.dose == (0.1, 1.0)
    assert stages.chest == Stages().chest
    assert stages.changed() == {"detector": {"dose": [0.1, 1.0]}, "presentation": {"collimated": 1.0}}
    assert Stages.of(stages.changed()) == stages
    assert Stages.of(None) == Stages()
    assert Stages.of({"detector": {"dose": [0.5, 1.6]}}).changed() == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"detectr": {}}, r"there is no detectr; did you mean detector\?"),
        ({"chest": {"bones": [0, 1]}}, r"there is no chest\.bones; did you mean chest\.bone\?"),
        ({"chest": {"bone": 0.5}}, r"chest\.bone is 0\.5; give \[low, high\], such as \(0\.2, 1\.8\)"),
        (
            {"presentation": {"collimated": [0, 1]}},
            r"presentation\.collimated is \[0, 1\]; give a number, such as 0\.35",
        ),
        ({"processing": {"black": [1, 2, 3]}}, r"processing\.black is \[1, 2, 3\]; give \[low, high\]"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=f"Simulator: {said}"):
        Stages.of(settings)


def test_ranges_reach_what_is_drawn():
    rng = np.random.default_rng(0)
    water = np.linspace(0, 200, 64 * 64, dtype=np.float32).reshape(64, 64)
    exposure = draw_exposure(
        rng, water, water < 90, 1.0, Processing(black=(11, 11), bend=(0.5, 0.5), bend_signs=(2.0,))
    )
    assert (exposure.black, exposure.bend) == (11, 1.0)
    always = Presentation(collimated=1.0, border_chance=1.0, border=(0.1, 0.1))
    assert collimation(rng, (100, 200), always) == (10, 20, 90, 180)
    assert collimation(rng, (100, 200), Presentation(collimated=0.0)) == (0, 0, 100, 200)
