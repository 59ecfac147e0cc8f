"""Questions are answered by what is known, once, and balanced where the answer is yes or no."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from bundle.data.demo.findings import FINDINGS
from bundle.data.questions import Question, answer_index, answer_vocabulary, section_questions
from bundle.question_types import TYPES
from tests.data.observations import NOUNS, draw_observations, entry, true_of_image

NAMES = ["Mass", "Nodule", "Effusion", "Infiltration", "Cardiomegaly"]


@pytest.fixture(scope="module")
def patients():
    """Observations and entries of 300 simulated patients."""
    rng = np.random.default_rng(0)
    drawn = [draw_observations(rng) for _ in range(300)]
    return drawn, [entry(rng, observations, number) for number, observations in enumerate(drawn)]


def box(finding, **attributes):
    return {"finding": finding, "box": [0, 0, 1, 1], "attributes": attributes}


def image(*boxes, absent=NAMES, boxed=NAMES, **more):
    """An entry: findings with boxes are present, others absent as far as they are named, all boxes complete."""
    there = {each["finding"] for each in boxes}
    labels = dict.fromkeys(set(absent) - there, 0) | dict.fromkeys(there, 1)
    return {"image": "a.dcm", "labels": labels, "boxes": list(boxes), "boxed": list(boxed), **more}


def answers(one, kind, seed=0):
    """Text -> answer of one entry's questions of a type, asked alone."""
    (asked,) = section_questions([one], NAMES, seed)
    return {q.text: q.answer for q in asked if q.type == kind}


# --- against the truth ------------------------------------------------------------------------------------------------


def test_answers_are_true_of_the_observations(patients):
    drawn, entries = patients
    seen: Counter[str] = Counter()
    for observations, asked in zip(drawn, section_questions(entries, FINDINGS), strict=True):
        for q in asked:
            seen[q.type] += 1
            noun = next((noun for noun in NOUNS if noun in q.text), "")
            of = [o for o in observations if o.finding == NOUNS.get(noun)]
            if q.type == "presence":
                assert (q.answer == "yes") == bool(of)
            elif q.type == "count":
                of = of or {o.finding for o in observations} if "findings" in q.text else of or _plural(q, observations)
                assert q.answer == str(len(of))
            elif q.type == "location":
                assert all(true_of_image(f"{noun} in {q.answer}", [o]) for o in of if not q.answer.startswith("both"))
                assert true_of_image(f"{noun} in {q.answer}", observations)
            elif q.type == "size":
                assert true_of_image(f"{q.answer} {noun}", of)
            else:
                place = q.text.removeprefix("which finding is in the ").rstrip("?")
                right = [
                    noun for noun in NOUNS if noun != "cardiomegaly" and true_of_image(f"{noun} {place}", observations)
                ]
                assert q.answer in right
                # fluid and air have no zone: they are not asked for, and are not in one that is
                assert set(right) <= {q.answer}
    assert set(seen) == set(TYPES) - {"own"}
    assert min(seen.values()) > 100


def _plural(q, observations):
    names = {"masses": "Mass", "nodules": "Nodule", "pleural effusions": "Effusion", "pneumothoraces": "Pneumothorax"}
    (finding,) = (name for noun, name in names.items() if noun in q.text)
    return [o for o in observations if o.finding == finding]


def test_yes_and_no_are_balanced_for_each_finding(patients):
    _, entries = patients
    counts = Counter((q.text, q.answer) for asked in section_questions(entries, FINDINGS) for q in asked)
    for noun, finding in NOUNS.items():
        (text,) = {text for text, _ in counts if re.fullmatch(rf"is there (an? )?{noun}\?", text)}
        present = sum(one["labels"][finding] for one in entries)
        assert counts[text, "yes"] == counts[text, "no"] == min(present, len(entries) - present)
    none = counts["how many nodules are there?", "0"]
    assert none == sum(counts["how many nodules are there?", str(n)] for n in range(1, 9)) > 50


def test_texts_of_an_image_are_distinct_and_the_same_every_time(patients):
    _, entries = patients
    asked = section_questions(entries, FINDINGS, seed=1)
    assert all(len({q.text for q in each}) == len(each) for each in asked)
    assert asked == section_questions(entries, FINDINGS, seed=1) != section_questions(entries, FINDINGS, seed=2)


# --- drawn by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([box("Mass", side="left", zone="upper")], {"where is the mass?": "left upper zone"}),
        ([box("Mass", side="left")], {}),
        ([box("Effusion", side="left")], {"where is the pleural effusion?": "left base"}),
        (
            [box("Effusion", side="left"), box("Effusion", side="right")],
            {"where is the pleural effusion?": "both bases"},
        ),
        ([box("Effusion", side="bilateral")], {"where is the pleural effusion?": "both bases"}),
        ([box("Mass", side="left", zone="upper"), box("Mass", side="right", zone="upper")], {}),
        ([box("Cardiomegaly")], {}),
        (
            [box("Infiltration", side="left", zone="lower"), box("Infiltration", side="right", zone="lower")],
            {"where is the infiltration?": "both lower zones"},
        ),
        ([box("Infiltration", side="left", zone="lower"), box("Infiltration", side="right", zone="upper")], {}),
    ],
)
def test_where(boxes, wanted):
    assert answers(image(*boxes), "location") == wanted


def test_one_half_of_both_sides_is_not_where_it_is():
    half = box("Infiltration", side="bilateral", zone="lower") | {"caption": "haze of the left lung"}
    assert answers(image(half), "location") == {}


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([box("Mass", size_mm=60)], {"how large is the mass?": "large"}),
        ([box("Cardiomegaly", size="mild")], {"how severe is the cardiomegaly?": "mild"}),
        ([box("Mass")], {}),
        ([box("Mass", size_mm=60), box("Mass", size_mm=60)], {}),
    ],
)
def test_how_large(boxes, wanted):
    assert answers(image(*boxes), "size") == wanted


def test_how_many():
    entries = [image(box("Nodule"), box("Nodule"), box("Mass")), image(), image(absent=[], boxed=[])]
    first, second, third = section_questions(entries, NAMES)
    assert Question("count", "how many nodules are there?", "2") in first
    assert Question("count", "how many nodules are there?", "0") in second
    assert Question("count", "how many different findings are there?", "2") in first
    assert third == []
    both = image(box("Effusion", side="bilateral"))
    assert not any("effusions" in q.text for q in section_questions([both, image()], NAMES)[0])


UPPER = {"side": "left", "zone": "upper"}


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([box("Mass", **UPPER)], {"which finding is in the left upper zone?": "mass"}),
        ([box("Mass", **UPPER), box("Mass", **UPPER)], {"which finding is in the left upper zone?": "mass"}),
        ([box("Mass", **UPPER), box("Infiltration", **UPPER)], {}),
        ([box("Mass", **UPPER), box("Infiltration", side="left")], {}),
        ([box("Mass", **UPPER), box("Infiltration", zone="upper")], {}),
        ([box("Mass", **UPPER), box("Effusion", side="left")], {"which finding is in the left upper zone?": "mass"}),
        ([box("Mass", side="left", zone="lower"), box("Effusion", side="left")], {}),
        ([box("Mass", **UPPER), box("Cardiomegaly")], {"which finding is in the left upper zone?": "mass"}),
        ([box("Mass", **UPPER), box("Pneumothorax", side="left")], {}),
        ([box("Hernia", **UPPER)], {}),  # none of the findings asked about
    ],
)
def test_which_finding(boxes, wanted):
    assert answers(image(*boxes), "finding") == wanted


@pytest.mark.parametrize("changes", [{"boxed": ["Mass"]}, {"absent": NAMES[:-1], "boxed": NAMES[:-1]}])
def test_what_may_be_there_unseen_is_not_asked(changes):
    one = image(box("Mass", **UPPER), box("Nodule", side="right", zone="upper"), **changes)
    assert answers(one, "finding") == {}


def test_boxes_that_are_not_complete_answer_nothing_but_presence():
    one = image(box("Mass", size_mm=60, **UPPER), boxed=[])
    asked = section_questions([one, image()], NAMES)[0]
    assert {q.type for q in asked} == {"presence", "count"}
    assert [q.text for q in asked if q.type == "count"] == ["how many different findings are there?"]


def test_own_questions_are_asked_beside_ours_and_before_the_same():
    pairs = [
        {"question": "Where is the  mass?", "answer": "Behind the heart.", "type": "location"},
        {"question": "Is the patient intubated?", "answer": "No .", "type": "device"},
        {"question": "is the patient intubated?", "answer": "yes"},
    ]
    (asked,) = section_questions([image(box("Mass", size_mm=60, **UPPER), qa=pairs)], NAMES)
    assert [q for q in asked if q.text == "where is the mass?"] == [
        Question("location", "where is the mass?", "behind the heart")
    ]
    assert [q for q in asked if q.type == "own"] == [Question("own", "is the patient intubated?", "no")]
    assert Question("size", "how large is the mass?", "large") in asked


def test_a_word_outside_the_vocabulary_names_its_entry():
    with pytest.raises(ValueError, match=r"entry 1 \(a\.dcm\), boxes\[0\]\.attributes: found side 'x'"):
        section_questions([image(), image(box("Mass", side="x"))], NAMES)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_in_order_of_frequency():
    asked = [[Question("own", str(n), answer) for n, answer in enumerate(["b", "c", "c", "a", "d", "a"])], []]
    assert answer_vocabulary(asked) == ["a", "c", "b", "d"]
    assert answer_vocabulary(asked, least=2) == ["a", "c"]
    with pytest.raises(ValueError, match="no answer that is given 3 times"):
        answer_vocabulary(asked, least=3)


def test_an_answer_outside_the_vocabulary():
    assert answer_index("no", ["yes", "no"]) == 1
    assert answer_index("maybe", ["yes", "no"], outside=True) == -1
    with pytest.raises(ValueError, match=r"Found the answer 'yess'; wanted one of the 2 .*did you mean yes\?"):
        answer_index("yess", ["yes", "no"])
