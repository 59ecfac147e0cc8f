"""The wording of captions, and the vocabulary behind it."""

from __future__ import annotations

import itertools

import pytest

from bundle.data.captions import Description, place_name, region_caption, size_word
from bundle.data.region_words import ATTRIBUTES, SWAPS, SYNONYMS, VALUES, alike, excludes, words_of


@pytest.mark.parametrize(
    ("description", "caption"),
    [
        (Description("Mass", "left", "upper", "large"), "large mass in the left upper zone"),
        (
            Description("Nodule", "right", "middle", "medium", "moderate", "ill-defined"),
            "medium-sized moderately dense ill-defined nodule in the right mid zone",
        ),
        (Description("Effusion", "right", "lower", "medium", "marked"), "moderate pleural effusion at the right base"),
        (Description("Pleural_Effusion", "bilateral"), "pleural effusion at both bases"),
        (Description("Pneumothorax", "left", "upper", "small"), "small pneumothorax on the left side"),
        (Description("Pneumothorax", "midline"), "pneumothorax"),
        (Description("Cardiomegaly", "midline", "lower", "large", "subtle"), "marked cardiomegaly"),
        (Description("Infiltration", "bilateral", "lower", density="subtle"), "faint infiltration in both lower zones"),
        (Description("Atelectasis", "left", "lower lobe", shape="linear"), "linear atelectasis in the left lower lobe"),
        (Description("Pneumonia", "right"), "pneumonia in the right lung"),
        (Description("Pneumonia", "bilateral"), "pneumonia in both lungs"),
        (Description("Pneumonia", zone="upper"), "pneumonia in the upper zone"),
        (Description("Pneumonia"), "pneumonia"),
        (Description("Mass", "midline", "upper"), "mass in the midline of the upper zone"),
        (Description("Mass", "midline"), "mass in the midline"),
        (Description("Mass", "left", "upper", present=False), "no mass in the left upper zone"),
        (Description("Mass", "left", both_sides=True), "mass in the left lung"),
        (
            Description("Pleural_Thickening", "left", "upper", "small"),
            "small pleural thickening in the left upper zone",
        ),
    ],
)
def test_wording(description, caption):
    assert region_caption(description) == caption


def test_descriptions_of_a_finding_that_differ_in_what_it_has_have_different_captions():
    values = [["", *VALUES[name]] for name in ATTRIBUTES]
    captions = [region_caption(Description("Mass", *each)) for each in itertools.product(*values)]
    assert len(set(captions)) == len(captions)


def test_places_and_sizes_alone():
    assert place_name(Description("Mass", "left", "middle")) == "left mid zone"
    assert place_name(Description("Effusion", "left", "middle")) == "left base"
    assert place_name(Description("Cardiomegaly", "left", "middle")) == ""
    assert [size_word("Effusion", size) for size in VALUES["size"]] == ["small", "moderate", "large"]
    assert (size_word("Mass", "medium"), size_word("Mass", "")) == ("medium-sized", "")


def test_findings_have_the_attributes_that_make_sense():
    assert words_of("Cardiomegaly").attributes == ("size",)
    assert words_of("Effusion") == words_of("pleural effusion") == words_of("Pleural_Effusion")
    assert "zone" not in words_of("Pneumothorax").attributes
    assert words_of("Hernia").attributes == ATTRIBUTES
    assert words_of("Hernia").noun == "hernia"


@pytest.mark.parametrize(
    ("attribute", "one", "other", "wanted"),
    [
        ("side", "left", "right", True),
        ("side", "left", "left", False),
        ("side", "left", "", False),
        ("side", "left", "bilateral", False),
        ("side", "midline", "bilateral", True),
        ("zone", "upper", "lower", True),
        ("zone", "upper lobe", "middle lobe", True),
        ("zone", "upper", "lower lobe", False),
        ("size", "small", "large", True),
        ("shape", "spiculated", "ill-defined", False),
        ("shape", "spiculated", "well-defined", True),
        ("shape", "cavitary", "spiculated", False),
        ("shape", "lobulated", "spiculated", False),
    ],
)
def test_values_that_exclude_each_other(attribute, one, other, wanted):
    assert excludes(attribute, one, other) is excludes(attribute, other, one) is wanted


def test_every_word_is_in_the_vocabulary():
    assert set(VALUES) == set(SWAPS)
    for name, synonyms in SYNONYMS.items():
        assert set(synonyms.values()) <= set(VALUES[name])
        assert not set(synonyms) & set(VALUES[name])


def test_findings_that_readers_confuse():
    assert alike("Mass", "Nodule")
    assert alike("pneumonia", "Infiltration")
    assert alike("Effusion", "Pleural Effusion")
    assert alike("Hernia", "hernia")
    assert not alike("Mass", "Pneumonia")
