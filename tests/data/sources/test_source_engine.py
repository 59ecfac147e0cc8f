"""Records and a folder of images become a datalist: what is looked for, placed, left out, divided and refused."""

import json

import numpy as np
import pytest

from bundle.data.datalist import check_datalist
from bundle.data.repeated_boxes import BETWEEN_READERS
from bundle.data.sources.faults import Faults, SourceError
from bundle.data.sources.image_index import ImageIndex
from bundle.data.sources.merging import _library, agreement_note, merge_readers
from bundle.data.sources.placing import place_boxes
from bundle.data.sources.prepare import Options, prepare
from bundle.data.sources.record import Box, Reading, Record
from bundle.data.sources.values import age_of, label_of, number_of
from bundle.reading.radiograph import check_radiograph
from tests.data.datalist_document import write_image
from tests.data.sources.source_files import faults_when, write_pictures


def reading_of(*records):
    return Reading("Test", ("Mass",), records)


def test_names_find_their_files(tmp_path):
    names = ["p1/s1/view1.jpg", "p1/s2/view1.jpg", "scans/a.dcm", "scans/a.png", "scans/1.2.840.5", ".cache/a.dcm"]
    index = ImageIndex(write_pictures(tmp_path / "train", names))
    assert len(index) == 5
    assert index.find("train/p1/s2/view1.jpg") == ["p1/s2/view1.jpg"]  # the folder is `train` itself
    assert index.find("C:\\data\\scans\\a.dcm") == ["scans/a.dcm"]
    assert index.find("a.dcm") == ["scans/a.dcm"]
    assert index.find("a") == ["scans/a.dcm", "scans/a.png"]
    assert index.find("s1/view1.png") == ["p1/s1/view1.jpg"]
    assert index.find("view1") == ["p1/s1/view1.jpg", "p1/s2/view1.jpg"]
    assert index.find("1.2.840.5.dcm") == ["scans/1.2.840.5"]
    assert [list(index.find(name)) for name in ("b.dcm", "x/view1.jpg", "..", "")] == [[]] * 4
    with pytest.raises(FileNotFoundError, match="found no such folder"):
        ImageIndex(tmp_path / "nothing")


def test_boxes_are_scaled_from_their_frame_and_clipped():
    faults = Faults()
    boxes = [
        Box("Mass", (-8, 512, 100, 2000), (1024, 1024)),
        Box("Mass", (1, 2, 3, 4), reader="R1", caption="a mass"),
        Box("Mass", (600, 2, 700, 4), where="t.csv line 3"),
        Box("Mass", (1, 2, 3, 4), (1024, 512), where="t.csv line 4"),
    ]
    placed, clipped = place_boxes(boxes, (512, 512), faults)
    assert placed == [
        {"finding": "Mass", "box": [0, 256, 50, 512]},
        {"finding": "Mass", "box": [1, 2, 3, 4], "reader": "R1", "caption": "a mass"},
    ]
    assert clipped == 1
    assert [str(fault) for fault in faults.all] == [
        "t.csv line 3, box of Mass: found [600, 2, 700, 4], outside the image of 512 x 512 (columns x rows); wanted "
        "x0, y0, x1, y1 inside it; is it in the pixels of another picture?",
        "t.csv line 4, image: found 512 x 512 pixels (columns x rows); wanted 1024 x 512, on which the boxes were "
        "drawn, or a copy at another size",
    ]


def test_every_fault_of_the_images_at_once(tmp_path):
    images = write_pictures(tmp_path / "images", ["a.png", "x/b.png", "y/b.png", "c.png"])
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    records = [
        Record("a", "p", split="training", where="t line 1"),
        Record("a.png", "p", where="t line 2"),
        Record("b.png", "q", where="t line 3"),
        Record("d.png", "q", where="t line 4"),
        Record("bad.png", "q", where="t line 5"),
        Record("c.png", "p", split="test", boxes=[Box("Mass", (70, 1, 80, 2), where="t line 6")], where="t line 6"),
    ]
    found = faults_when(prepare, reading_of(*records), images, tmp_path / "d.json")
    assert len(found) == 6
    assert found[0] == "t line 2, image: found a.png, as in t line 1; wanted each image once"
    assert "x/b.png and y/b.png" in found[1]
    assert f"d.png, which is not there; wanted such a file in {images} or below it, or --allow_missing" in found[2]
    assert found[3].startswith("t line 5, image: found bad.png: ")
    assert "outside the image of 64 x 48" in found[4]
    assert found[5] == (
        "t line 6, section: found test, and the same patient in training (t line 1); wanted each patient in one "
        "section only"
    )
    assert not (tmp_path / "d.json").exists()


def test_missing_images_and_laterals_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO", "bundle")
    images = write_pictures(tmp_path / "images", ["a.png", "b.png", "other.png"])
    write_image(images / "lateral.dcm", ViewPosition="LL")
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    records = [Record(name, name, {"Mass": n % 2}) for n, name in enumerate(["a", "gone", "bad", "lateral"])]
    reading = reading_of(*records, Record("b", "b", view="LATERAL"))
    path = prepare(reading, images, tmp_path / "d.json", Options(allow_missing=True, validation=0, test=0))
    check_datalist(path, base_dir=images)
    document = json.loads(path.read_text())
    assert [entry["image"] for entry in document["training"]] == ["a.png"]
    assert document["source"]["missing_images"] == ["gone", "bad"]
    assert list(document["source"]["left_out"].values()) == [1, 1, 1, 1]
    assert "Missing or unreadable: gone, bad (all: source.missing_images)." in caplog.text
    assert "2 files that no row names" in caplog.text  # other.png, and b.png of the lateral view
    path = prepare(reading, images, path, Options(allow_missing=True, laterals=True, validation=0, test=0))
    assert len(json.loads(path.read_text())["training"]) == 3


def test_headers_of_images_with_boxes_only(tmp_path):
    images = write_pictures(tmp_path / "images", ["a.png"])
    (images / "bad.png").write_bytes(b"no picture")
    records = [Record("bad", "p"), Record("a", "q", {"Mass": 1}, [Box("Mass", (1, 1, 70, 9))])]
    path = prepare(reading_of(*records), images, tmp_path / "d.json", Options(headers="boxed"))
    assert json.loads(path.read_text())["source"]["counts"]["all"]["images"] == 2
    with pytest.raises(ValueError, match="Found headers 'none'; wanted all or boxed"):
        prepare(reading_of(*records), images, path, Options(headers="none"))


def test_an_empty_folder_and_nothing_that_stays(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "found no file" in faults_when(prepare, reading_of(Record("a", "p")), tmp_path / "empty", "d.json")[0]
    images = write_pictures(tmp_path / "images", ["a.png"])
    reading = reading_of(Record("a", "p", view="LATERAL"))
    assert "found none that stays" in faults_when(prepare, reading, images, tmp_path / "d.json")[0]


def test_the_split_is_by_patient_and_seed_but_for_the_sources_own(tmp_path):
    images = write_pictures(tmp_path / "images", [f"{n}.png" for n in range(30)])
    own = [Record(str(n), f"p{n // 2}", split="test" if n < 6 else "") for n in range(30)]

    def sections(seed):
        path = prepare(reading_of(*own), images, tmp_path / "d.json", Options(validation=0.3, test=0.5, seed=seed))
        check_datalist(path, base_dir=images)
        return {
            key: value
            for key, value in json.loads(path.read_text()).items()
            if key in ("training", "validation", "test")
        }

    first = sections(0)
    assert first == sections(0) != sections(1)
    assert len(first["test"]) == 6  # the source's: the share of test is not cut again
    assert first["validation"]
    assert first["training"]


def test_merging_readers():
    boxes = [
        Box("Mass", (0, 0, 10, 10), reader="R1"),
        Box("Mass", (2, 0, 12, 10), reader="R2"),
        Box("Mass", (50, 50, 60, 60), reader="R3"),
        Box("Edema", (0, 0, 10, 10), reader="R1"),
        Box("Nodule", (0, 0, 10, 10), reader="R1"),
        Box("Nodule", (80, 0, 90, 10), reader="R2"),
    ]
    readers, findings = ["R1", "R2", "R3"], ["Mass", "Edema", "Nodule", "Hernia"]
    every = merge_readers(boxes, readers, findings, "any")
    assert (every.labels, every.boxed) == ({"Mass": 1, "Edema": 1, "Nodule": 1, "Hernia": 0}, set(findings))
    assert (every.boxes, every.readers) == (boxes, readers)
    most = merge_readers(boxes, readers, findings, "majority")
    assert most.labels == {"Mass": 1, "Edema": 0, "Nodule": 1, "Hernia": 0}
    (mass,) = most.boxes
    assert (mass.corners, mass.reader, mass.agreement) == ((1, 0, 11, 10), "", 0.6667)
    assert most.boxed == {"Mass", "Edema", "Hernia"}  # on the nodule's place nobody agrees
    assert most.readers == ()
    fused = merge_readers(boxes, readers, findings, "fusion")
    assert (fused.labels, fused.boxed, fused.readers) == (most.labels, most.boxed, ())
    (mass,) = fused.boxes
    assert mass.corners == pytest.approx((1, 0, 11, 10))
    assert (mass.reader, mass.agreement) == ("", 0.6667)
    assert agreement_note([boxes, boxes[:3]], [3, 2], findings) == (
        "Images in which one reader at least, more than half and all drew a finding: Mass 2, 2, 1; Edema 1, 0, 0; "
        "Nodule 1, 1, 0"
    )


def fused_by_definition(boxes):
    """Algorithm of Solovyev et al., section 3, with equal confidences: (mean corners, readers) of each cluster."""

    def iou(one, other):
        width, height = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
        both = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        return both / (sum(areas) - both)

    clusters, means = [], []
    for box in reversed(boxes):  # all are equally confident
        overlaps = [iou(box.corners, mean) for mean in means]
        if overlaps and max(overlaps) > BETWEEN_READERS:
            place = overlaps.index(max(overlaps))
            clusters[place].append(box)
            means[place] = np.mean([each.corners for each in clusters[place]], 0)
        else:
            clusters.append([box])
            means.append(np.array(box.corners))
    return [(mean, {box.reader for box in cluster}) for mean, cluster in zip(means, clusters, strict=True)]


def test_weighted_box_fusion_is_the_published_one():
    rng = np.random.default_rng(0)
    chained = 0
    for _ in range(300):
        readers = ["R1", "R2", "R3"]
        places = rng.uniform(0, 60, (2, 2))
        boxes = [
            Box("Mass", (x, y, x + width, y + height), reader=reader)
            for reader in readers
            for x, y in places[: rng.integers(1, 3)] + rng.uniform(-6, 6, 2)
            for width, height in rng.uniform(15, 30, (1, 2))
        ]
        expected = sorted(
            (tuple(mean), round(len(who) / 3, 4)) for mean, who in fused_by_definition(boxes) if len(who) > 1
        )
        found = merge_readers(boxes, readers, ["Mass"], "fusion").boxes
        assert len(found) == len(expected)
        for box, (corners, agreement) in zip(sorted(found, key=lambda each: each.corners), expected, strict=True):
            np.testing.assert_allclose(box.corners, corners, atol=1e-4)
            assert box.agreement == agreement
        majority = merge_readers(boxes, readers, ["Mass"], "majority").boxes
        chained += sorted(box.agreement for box in found) != sorted(box.agreement for box in majority)
    assert chained > 10  # a chain is no cluster: the rules differ


def test_fusion_without_its_library_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _library.cache_clear()
    boxes = [Box("Mass", (0, 0, 10, 10), reader=reader) for reader in ("R1", "R2")]
    with pytest.raises(SourceError, match="pip install --no-deps ensemble-boxes"):
        merge_readers(boxes, ["R1", "R2"], ["Mass"], "fusion")


@pytest.mark.parametrize(
    ("text", "label"),
    [("1", 1), ("1.0", 1), ("0.0", 0), ("-1.0", -1), ("", None), ("nan", None), ("Yes", 1), ("uncertain", -1)],
)
def test_labels(text, label):
    assert label_of(text) == label


def test_values_that_are_none():
    for read, text in ((label_of, "2"), (label_of, "0.5"), (number_of, "nan"), (number_of, "1e999"), (age_of, "old")):
        with pytest.raises(ValueError, match=repr(text)):
            read(text)
    assert (age_of("61.5"), age_of("414Y"), age_of("n/a")) == (61, None, None)
    assert np.isclose(number_of("1.5e2"), 150)


def test_an_error_survives_being_raised_again():
    assert str(SourceError(*SourceError("found a").args)) == "found a"


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    images = write_pictures(tmp_path / "images", ["a.png", "b.png", "c.png"])
    records = [Record(name, name, labels={"Mass": 1}) for name in "abc"]
    output = tmp_path / "made" / "d.json"
    looked: list[str] = []

    def look(path):
        looked.append(path.name)
        if looked == ["a.png", "b.png", "c.png"] and not output.exists():
            raise KeyboardInterrupt
        return check_radiograph(path)

    monkeypatch.setattr("bundle.data.sources.seen_headers.check_radiograph", look)
    with pytest.raises(KeyboardInterrupt):
        prepare(reading_of(*records), images, output)
    kept = output.with_suffix(".headers.jsonl")
    kept.write_text(kept.read_text() + '{"image": "c.png", "si')  # as a kill leaves it
    (images / "b.png").unlink()
    write_pictures(images, ["b.png"], (50, 70))
    prepare(reading_of(*records), images, output)
    assert looked == ["a.png", "b.png", "c.png", "b.png", "c.png"]  # b is another now
    assert not kept.exists()
    kept.write_text("")
    whole = json.loads(output.read_text())
    looked.clear()
    prepare(reading_of(*records), images, output)
    assert looked == ["a.png", "b.png", "c.png"]
    assert json.loads(output.read_text()) == whole


def test_what_was_seen_stays_while_there_are_faults(tmp_path, monkeypatch):
    images = write_pictures(tmp_path / "images", ["a.png"])
    output = tmp_path / "d.json"
    with pytest.raises(SourceError, match=r"b\.png"):
        prepare(reading_of(Record("a", "p"), Record("b.png", "q")), images, output)
    monkeypatch.setattr("bundle.data.sources.seen_headers.check_radiograph", None)
    prepare(reading_of(Record("a", "p")), images, output)
    assert json.loads(output.read_text())["training"] or json.loads(output.read_text())["test"]
    monkeypatch.setattr("bundle.data.sources.seen_headers._reader", lambda: "another version")
    with pytest.raises(TypeError):  # it looks again, with what is no function here
        prepare(reading_of(Record("a", "p")), images, output)
