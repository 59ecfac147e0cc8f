"""Labels from reports: sentences by hand, a source, and experts' tags of real reports."""

import json

import pytest

from bundle.data.report_labels import TERMS, labelled, report_labels
from bundle.data.sources.openi import read_openi
from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.record import Box, Reading, Record
from tests.data.datalist_document import write_image


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is a small left pleural effusion.", {"Effusion": 1}),
        ("No pleural effusion or pneumothorax.", {"Effusion": 0, "Pneumothorax": 0}),
        ("No focal consolidation. Heart is enlarged.", {"Cardiomegaly": 1}),
        ("Possible pneumonia.", {"Pneumonia": None}),
        ("No pneumothorax on the right. Small left apical pneumothorax.", {"Pneumothorax": 1}),
        ("The lungs are clear.", {}),
        ("", {}),
    ],
)
def test_by_hand(text, said):
    assert report_labels(text) == said


def reading():
    records = [
        Record("a.png", "p1", {"Effusion": 0}, report="Small effusion. No mass. Possible pneumonia."),
        Record("b.png", "p2", boxes=[Box("Mass", (1, 1, 5, 5))], report="No mass or nodule."),
        Record("c.png", "p3"),
    ]
    return Reading("Test", ("Mass", "Effusion", "Other"), records)


def test_a_sources_own_labels_and_boxes_come_first():
    told = labelled(reading(), "mentioned")
    assert told.findings[:3] == ("Mass", "Effusion", "Other")
    assert set(told.findings) == {*TERMS, "Other"}
    assert [record.labels for record in told.records] == [{"Effusion": 0, "Mass": 0}, {"Nodule": 0}, {}]
    assert "2 labels are of reports" in told.notes[-1]
    first, second, third = (record.labels for record in labelled(reading(), "all").records)
    assert first == dict.fromkeys(set(TERMS) - {"Pneumonia"}, 0)  # its own Effusion; unsure of pneumonia
    assert "Mass" not in second
    assert third == {}
    with pytest.raises(ValueError, match="wanted mentioned or all"):
        labelled(reading(), "yes")
    with pytest.raises(ValueError, match="has no report"):
        labelled(Reading("Test", ("Mass",), [Record("c.png", "p3")]), "all")


def test_the_engine_labels_where_it_is_asked_to(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.png")
    prepare(reading(), tmp_path, tmp_path / "datalist.json", Options(labels_from_reports="mentioned"))
    document = json.loads((tmp_path / "datalist.json").read_text())
    entries = {entry["image"]: entry for part in ("training", "validation", "test") for entry in document[part]}
    assert entries["a.png"]["labels"] == {"Effusion": 0, "Mass": 0}
    assert "labels are of reports" in document["source"]["notes"][-1]


@pytest.mark.slow
def test_experts_tags_of_real_reports():
    """docs/data.md has all of them; here 400, against what a search for the words alone would give."""
    records = {record.patient: record for record in read_openi().records if record.report and record.labels}
    some = list(records.values())[::9]
    words = agreed = wrong = 0
    for record in some:
        said = report_labels(record.report).get("Effusion", 0)
        tagged = record.labels["Effusion"] == 1
        agreed += said == 1 and tagged
        wrong += said == 1 and not tagged
        words += "effusion" in record.report.lower() and not tagged
    assert agreed >= 10
    assert wrong < agreed / 2
    assert words > 10 * agreed  # "no effusion" is what most reports say
