"""What inference's findings file says of a lesion that is really there."""

import pytest

from bundle.experiments.real_lesion import lesion_verdict


def document(*candidates, presence="present"):
    point = {"slope": 1.0, "offset": 0.0, "image": 0.2, "box": 0.4}
    return {
        "findings": {"Mass": {"image": 0.6}, "Nodule": {"image": 0.3}},
        "presence": {"Mass": presence, "Nodule": "absent"},
        "operating_points": {"Mass": point, "Nodule": point},
        "candidates": [
            {"finding": finding, "score": score, "peak": [x, y], "shown": shown}
            for finding, score, x, y, shown in sorted(candidates, key=lambda each: -each[1])
        ],
    }


BOXES = [[100, 50, 160, 110], [104, 52, 170, 110]]  # of two readers


def test_a_lesion_is_found_where_a_shown_candidates_peak_lies_in_a_readers_box():
    verdict = lesion_verdict(
        document(("Mass", 0.9, 20, 20, True), ("Mass", 0.7, 165, 60, True), ("Mass", 0.1, 120, 60, False)),
        "Mass",
        BOXES,
    )
    assert verdict == {
        "found": True,
        "named": True,
        "probability": 0.6,
        "image_threshold": 0.2,
        "score": 0.7,
        "box_threshold": 0.4,
        "rank": 2,
        "candidates": 3,
        "shown_elsewhere": 1,
        "found_as": None,
    }


@pytest.mark.parametrize(
    ("x", "y", "hits"), [(100, 50, True), (170, 60, False), (169.9, 60, True), (120, 110, False), (99.9, 60, False)]
)
def test_a_box_begins_with_its_first_corner_and_ends_before_its_last(x, y, hits):
    assert (lesion_verdict(document(("Mass", 0.5, x, y, True)), "Mass", BOXES)["rank"] == 1) == hits


def test_what_is_not_shown_is_not_found_but_ranked():
    verdict = lesion_verdict(document(("Mass", 0.3, 120, 60, False), presence="absent"), "Mass", BOXES)
    assert (verdict["found"], verdict["named"], verdict["rank"], verdict["score"]) == (False, False, 1, 0.3)
    nothing = lesion_verdict(document(presence=None), "Mass", BOXES)
    assert (nothing["found"], nothing["named"], nothing["rank"], nothing["score"]) == (False, None, None, None)


def test_another_name_under_which_it_is_marked_is_told():
    marked = document(("Nodule", 0.8, 120, 60, True), ("Mass", 0.5, 10, 10, True))
    verdict = lesion_verdict(marked, "Mass", BOXES)
    assert (verdict["found"], verdict["found_as"], verdict["shown_elsewhere"]) == (False, "Nodule", 1)
    assert lesion_verdict(marked, "Nodule", BOXES)["found"]


def test_a_file_without_the_finding_is_refused():
    with pytest.raises(ValueError, match=r"no Effusion in the findings file .*Mass, Nodule"):
        lesion_verdict(document(), "Effusion", BOXES)
    refused = document() | {"findings": {}, "not_assessed": "it is a lateral view"}
    with pytest.raises(ValueError, match=r"no Mass in the findings file \(it is a lateral view\)"):
        lesion_verdict(refused, "Mass", BOXES)
