"""Items that carry numbers of texts: equal texts are one, none is -1, and all stand in the order of the boxes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bundle.data.captions import region_caption
from bundle.data.datalist import DatalistError, datalist_section
from bundle.data.demo.findings import FINDINGS
from bundle.data.hard_negatives import KINDS
from bundle.data.texts import NO_TEXT, TextList, text_data
from bundle.question_types import TYPES
from tests.data.observations import draw_observations, entry, true_of_image

IMAGES = {"training": 40, "validation": 10, "test": 10}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A datalist of the simulation without its images, and the observations by section."""
    rng = np.random.default_rng(0)
    numbers = iter(range(100))
    drawn = {name: [draw_observations(rng) for _ in range(count)] for name, count in IMAGES.items()}
    sections = {name: [entry(rng, each, next(numbers)) for each in section] for name, section in drawn.items()}
    path = tmp_path_factory.mktemp("texts") / "datalist.json"
    path.write_text(json.dumps({"findings": list(FINDINGS), **sections}), encoding="utf-8")
    return path, drawn


def read(path, **options):
    return text_data(path, check_images=False, **options)


@pytest.fixture(scope="module")
def data(simulated):
    return read(simulated[0])


# --- the list ---------------------------------------------------------------------------------------------------------


def test_equal_texts_have_one_number():
    texts = TextList(["b", "a"])
    assert [texts.add(text) for text in ("a", " b ", "c\nd", "c d", "", "  ", None)] == [1, 0, 2, 2, -1, -1, -1]
    assert list(texts) == ["b", "a", "c\nd"]  # its lines stay, for parts of a report
    assert (len(texts), texts[2], texts[1:]) == (3, "c\nd", ["a", "c\nd"])


@pytest.mark.parametrize("number", [NO_TEXT, 1])
def test_no_text_has_no_words(number):
    with pytest.raises(IndexError):
        TextList(["a"])[number]


# --- the items --------------------------------------------------------------------------------------------------------


def test_items_are_those_of_the_datalist_and_more(simulated, data):
    for name in IMAGES:
        plain = datalist_section(simulated[0], name, check_images=False)
        for item, before in zip(data[name], plain, strict=True):
            assert before.keys() < item.keys()
            assert item["boxes"].tolist() == before["boxes"].tolist()
            assert data.texts[item["report_id"]] == item["report"]
            assert data.texts[item["summary_id"]] == item["summary"]


def test_texts_stand_as_the_boxes_do(simulated, data):
    _, drawn = simulated
    for name in IMAGES:
        for item, regions, observations in zip(data[name], data.regions[name], drawn[name], strict=True):
            n = len(item["boxes"])
            assert (item["caption_id"].shape, item["negative_id"].shape) == ((n,), (n, 6))
            assert [region.finding for region in regions] == [FINDINGS[k] for k in item["box_finding"]]
            assert [data.texts[i] for i in item["caption_id"]] == [region_caption(region) for region in regions]
            assert (item["negative_id"] >= 0).all()
            assert not (item["negative_id"] == item["caption_id"][:, None]).any()
            false = [data.texts[i] for i in item["negative_id"].flat]
            assert not any(true_of_image(caption, observations) for caption in false)
            kinds = [KINDS[k] for k in item["negative_kind"].flat]
            assert [kind == "presence" for kind in kinds] == [caption.startswith("no ") for caption in false]


def test_questions_and_answers_by_number(data):
    for name in IMAGES:
        for item, questions in zip(data[name], data.questions[name], strict=True):
            assert [data.texts[i] for i in item["question_id"]] == [q.text for q in questions]
            assert [TYPES[i] for i in item["question_type"]] == [q.type for q in questions]
            assert [data.answers[i] for i in item["answer"] if i >= 0] == [
                q.answer for q in questions if q.answer in data.answers
            ]


def test_every_number_is_an_integer_and_every_text_is_used(data):
    used = set()
    for item in (item for section in data.items.values() for item in section):
        for key in ("caption_id", "negative_id", "negative_kind", "question_id", "question_type", "answer"):
            assert item[key].dtype == np.int64
        for key in ("report_id", "summary_id", "caption_id", "negative_id", "question_id"):
            used |= set(np.ravel(item[key]).tolist())
    assert used - {NO_TEXT} == set(range(len(data.texts)))


def test_the_same_file_gives_the_same_and_a_seed_other_negatives(simulated, data):
    again, other = read(simulated[0]), read(simulated[0], seed=1)
    assert list(again.texts) == list(data.texts)
    for item, same, unlike in zip(data["test"], again["test"], other["test"], strict=True):
        assert item["negative_id"].tolist() == same["negative_id"].tolist()
        assert item["caption_id"].shape == unlike["caption_id"].shape
    assert [i["negative_kind"].tolist() for i in data["test"]] != [i["negative_kind"].tolist() for i in other["test"]]


def test_findings_choose_boxes_captions_and_names_in_negatives(simulated):
    data = read(simulated[0], findings=["Mass", "Cardiomegaly"], negatives=9)
    for item, regions in zip(data["training"], data.regions["training"], strict=True):
        assert len(item["caption_id"]) == len(item["boxes"]) == len(regions)
        assert {region.finding for region in regions} <= {"Mass", "Cardiomegaly"}
    spoken = " ".join(data.texts[i] for item in data["training"] for i in item["negative_id"].flat if i >= 0)
    assert "mass" in spoken
    assert not any(name in spoken for name in ("nodule", "effusion", "pneumonia"))
    kinds = np.concatenate([item["negative_kind"] for item in data["training"]])
    numbers = np.concatenate([item["negative_id"] for item in data["training"]])
    assert ((kinds == -1) == (numbers == -1)).all()


def test_folds_in_a_row_and_their_names(simulated):
    data = read(simulated[0], sections={"training": ["test", "validation"], "validation": "training"})
    assert [len(items) for items in data.items.values()] == [20, 40]
    assert [item["index"] for item in data["training"]] == list(range(20))


# --- by hand ----------------------------------------------------------------------------------------------------------


def write(tmp_path, **sections):
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"findings": ["Mass", "Effusion"], **sections}), encoding="utf-8")
    return path


def mass(**more):
    return {"finding": "Mass", "box": [0, 0, 10, 10], **more}


def test_what_is_missing_is_minus_one(tmp_path):
    path = write(
        tmp_path, training=[{"image": "a.png", "patient_id": 1}, {"image": "b.png", "patient_id": 2, "boxes": [mass()]}]
    )
    data = read(path, sections=["training"], negatives=2)
    bare, boxed = data["training"]
    assert (bare["report_id"], bare["summary_id"], bare["summary"]) == (-1, -1, "")
    assert [bare[key].shape for key in ("caption_id", "negative_id", "question_id")] == [(0,), (0, 2), (0,)]
    assert data.answers == []
    assert [data.texts[i] for i in (boxed["caption_id"][0], boxed["negative_id"][0, 0])] == ["mass", "no mass"]
    assert boxed["negative_id"][0, 1] == boxed["negative_kind"][0, 1] == -1


def test_an_answer_that_training_never_gives_is_minus_one(tmp_path):
    pair = {"question": "Which side?", "answer": "Left."}
    path = write(
        tmp_path,
        training=[{"image": "a.png", "patient_id": 1, "qa": [pair]}],
        test=[{"image": "b.png", "patient_id": 2, "qa": [pair, {"question": "Which lobe?", "answer": "lingula"}]}],
    )
    data = read(path, sections=["training", "test"])
    assert data.answers == ["left"]
    assert data["test"][0]["answer"].tolist() == [0, -1]


def test_the_boxes_own_words_on_demand(tmp_path):
    boxes = [mass(caption="A mass, 6 cm", attributes={"size_mm": 60}), mass(box=[10, 0, 20, 9], caption=" ")]
    path = write(tmp_path, training=[{"image": "a.png", "patient_id": 1, "boxes": boxes}])
    for own, wanted in ((False, ["large mass", "mass"]), (True, ["A mass, 6 cm", "mass"])):
        data = read(path, sections=["training"], own_captions=own)
        assert [data.texts[i] for i in data["training"][0]["caption_id"]] == wanted


def test_unknown_words_are_listed_at_once(tmp_path):
    entries = [
        {"image": f"{n}.png", "patient_id": n, "boxes": [mass(attributes={"side": side})]}
        for n, side in enumerate(["left", "lef", "righ"])
    ]
    with pytest.raises(DatalistError) as caught:
        read(write(tmp_path, training=entries), sections=["training"])
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("datalist.json: 2 entries with unknown words of a region")
    assert [line.split(" ")[2] for line in lines[1:]] == ["training[1]", "training[2]"]
    assert "boxes[0].attributes: found side 'lef'; wanted left, right" in lines[1]
