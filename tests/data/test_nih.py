"""NIH's real tables become the benchmark's datalist; small tables show the rest."""

import hashlib
import json
import logging
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import check_datalist, datalist_section, load_datalist
from bundle.data.nih import find_images, prepare_nih, scale_box
from bundle.data.nih_benchmark import FINGERPRINT, benchmark_sections, draw_normal, fingerprint
from bundle.data.nih_tables import BOX_FINDINGS, BOX_TABLE, FINDINGS, IMAGE_TABLE, NIHBox, NIHImage
from tests.data.test_nih_tables import BOXES, lines_of
from tests.nih_files import image_row, real_tables, write_images, write_small_set, write_tables

FOLDS = [f"fold_{n}" for n in range(5)]


# --- the benchmark, from the real tables ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sections():
    """The benchmark's images."""
    return benchmark_sections(*real_tables())


@pytest.fixture(scope="module")
def real(sections, tmp_path_factory):
    """The benchmark's datalist, with 16 px images in the download's sub-folders, and their folder."""
    folder = tmp_path_factory.mktemp("nih")
    names = [image.name for part in sections.values() for image in part]
    images = write_images(folder / "images", names)
    return prepare_nih(images, folder / "lists" / "datalist.json", benchmark=True), images


def test_the_benchmark_is_a_datalist_without_faults(real):
    path, images = real
    datalist = load_datalist(path, sections=FOLDS, findings=BOX_FINDINGS, base_dir=images)
    entries = [entry for fold in FOLDS for entry in datalist[fold]]
    assert len(entries) == 1760
    boxes = [(entry, box) for entry in entries for box in entry["boxes"]]
    assert len(boxes) == 984
    assert Counter(box["finding"] for _, box in boxes) == BOXES
    assert sum(bool(entry["boxes"]) for entry in entries) == 880
    for entry in entries:
        with_boxes = [box["finding"] for box in entry["boxes"]]
        assert entry["boxed"] == with_boxes
        assert list(entry["labels"]) == list(FINDINGS)
        assert all(entry["labels"][finding] == 1 for finding in with_boxes)
        assert with_boxes or not any(entry["labels"].values())
        assert (entry["site"], "report" in entry) == ("NIH", False)
    document = json.loads(path.read_text())
    every = document["source"]["counts"]["all"]
    assert (every["images"], every["boxes"], every["patients"], every["boxes_of"]) == (1760, 984, 726 + 880, BOXES)
    assert document["source"]["clipped_boxes"] == 0
    assert "984 boxes on 880 images" in document["description"]


def test_boxes_are_those_of_the_table_in_the_stored_images_pixels(real):
    path, images = real
    items = {}
    for item in datalist_section(path, FOLDS, findings=BOX_FINDINGS, base_dir=images):
        items[item["image"].rsplit("/", 1)[1]] = item
    for name, label, *numbers in lines_of(BOX_TABLE):
        x, y, w, h = map(float, numbers)
        item = items[name]
        place = BOX_FINDINGS.index(label.replace("Infiltrate", "Infiltration"))
        (box,) = item["boxes"][item["box_finding"] == place]
        np.testing.assert_allclose(box, np.array([x, y, x + w, y + h]) * 16 / 1024, atol=1e-4)
        assert item["label"][place] == 1
        assert item["boxed"][place]


def test_the_sample_is_drawn_as_documented(real):
    """The rule again, in other words: hashes sorted, other patients, one image each."""
    rows = lines_of(IMAGE_TABLE)
    with_boxes = {fields[0] for fields in lines_of(BOX_TABLE)}
    taken = {fields[3] for fields in rows if fields[0] in with_boxes}
    assert len(taken) == 726
    sample = []
    for _, name, patient in sorted(
        (hashlib.sha256(fields[0].encode()).hexdigest(), fields[0], fields[3])
        for fields in rows
        if fields[1] == "No Finding"
    ):
        if patient not in taken and len(sample) < 880:
            taken.add(patient)
            sample.append(name)
    assert json.loads(real[0].read_text())["no_finding_sample"] == sorted(sample)


def test_folds_part_patients_and_are_balanced(sections):
    assert list(sections) == FOLDS
    patients = [{image.patient_id for image in part} for part in sections.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 726 + 880
    findings = defaultdict(list)
    boxes_of = Counter((fields[0], fields[1]) for fields in lines_of(BOX_TABLE))
    for part in sections.values():
        names = {image.name for image in part}
        count = Counter(label for name, label in boxes_of if name in names)
        for label in {label for _, label in boxes_of}:
            findings[label].append(count[label])
        findings["No Finding"].append(sum(not image.labels for image in part))
        findings["images"].append(len(part))
    assert all(max(counts) - min(counts) <= 1 for label, counts in findings.items() if label != "images"), findings
    assert max(findings["images"]) - min(findings["images"]) <= 20, findings


def test_the_benchmark_is_the_published_one(real, sections):
    assert json.loads(real[0].read_text())["source"]["fingerprint"] == FINGERPRINT == fingerprint(sections)


# --- small tables ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Images and tables of ten images with a box and ten without a finding."""
    return write_small_set(tmp_path, pairs=10)


def document_of(path):
    return json.loads(path.read_text())


def test_labels_boxes_and_patient_data_of_an_entry(tmp_path):
    tables = write_tables(
        tmp_path / "tables",
        [
            image_row("00000001_000.png", "Infiltration|Mass|Edema", "058Y", "F", "AP"),
            image_row("00000001_001.png", "Mass", "414Y"),
            image_row("00000002_000.png"),
        ],
        ["00000001_000.png,Infiltrate,512,0,600,256", "00000001_000.png,Nodule,1,2,3,4"],
    )
    for name, size in (("00000001_000.png", 1024), ("00000001_001.png", 16), ("00000002_000.png", 16)):
        write_images(tmp_path / "images" / str(size) / name[:12], [name], size, parts=1)
    path = prepare_nih(tmp_path / "images", tmp_path / "datalist.json", tables)
    document = document_of(path)
    everyone = [entry for key in ("training", "validation", "test") for entry in document[key]]
    entries = {entry["image"][-16:]: entry for entry in everyone}
    first = entries["00000001_000.png"]
    assert first["image"] == "1024/00000001_000/images_001/images/00000001_000.png"
    positive = [finding for finding, label in first["labels"].items() if label]
    assert positive == ["Infiltration", "Mass", "Nodule", "Edema"]
    assert first["boxes"] == [
        {"finding": "Infiltration", "box": [512, 0, 1024, 256]},  # clipped
        {"finding": "Nodule", "box": [1, 2, 4, 6]},
    ]
    assert first["boxed"] == ["Infiltration", "Nodule"]  # Mass is positive without boxes
    assert [first[key] for key in ("patient_id", "sex", "age", "view", "site")] == ["1", "F", 58, "AP", "NIH"]
    assert document["source"]["clipped_boxes"] == 1
    second, third = entries["00000001_001.png"], entries["00000002_000.png"]
    assert (second["labels"]["Mass"], "age" in second, "boxes" in second, "boxed" in second) == (1, False, False, False)
    assert set(third["labels"].values()) == {0}
    check_datalist(path, base_dir=tmp_path / "images")


def test_the_default_split_is_by_patient_and_seed(small, tmp_path):
    images, tables = small
    first, again, other = (
        document_of(prepare_nih(images, tmp_path / f"{n}.json", tables, seed=seed, validation=0.3, test=0.3))
        for n, seed in enumerate([0, 0, 1])
    )
    assert first == again
    assert first["source"]["fingerprint"] != other["source"]["fingerprint"]
    assert sum(len(first[key]) for key in ("training", "validation", "test")) == 20
    assert all(first[key] for key in ("training", "validation", "test"))
    check_datalist(tmp_path / "0.json", base_dir=images)


def test_the_official_split_takes_nihs_lists(small, tmp_path):
    images, tables = small
    names = [f"{n:08d}_000.png" for n in range(1, 21)]
    (tables / "train_val_list.txt").write_text("\n".join(names[:14]))
    (tables / "test_list.txt").write_text("\n".join(names[14:]) + "\n")
    document = document_of(prepare_nih(images, tmp_path / "o.json", tables, split="official", validation=0.3))
    found = {key: [entry["image"] for entry in document[key]] for key in ("training", "validation", "test")}
    assert found["test"] == names[14:]
    assert sorted(found["training"] + found["validation"]) == names[:14]
    assert 0 < len(found["validation"]) < 14
    (tables / "test_list.txt").write_text("\n".join(names[13:19]))
    with pytest.raises(ValueError, match=r"2 images are in neither or in both .*00000020_000\.png, 00000014_000\.png"):
        prepare_nih(images, tmp_path / "o.json", tables, split="official")
    (tables / "test_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_list\.txt: there is no such file"):
        prepare_nih(images, tmp_path / "o.json", tables, split="official")


def test_missing_images_are_counted_and_the_first_named(small, tmp_path):
    images, tables = small
    for number in (3, 12, 13, 14, 15, 16, 17):
        (images / f"{number:08d}_000.png").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        prepare_nih(images, tmp_path / "d.json", tables)
    assert "found 13 of 20 images; missing are 00000003_000.png, 00000012_000.png, " in str(caught.value)
    assert "00000017" not in str(caught.value)
    assert "require boxed" in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"missing are 00000003_000\.png\. "):
        prepare_nih(images, tmp_path / "d.json", tables, require="boxed")
    assert not (tmp_path / "d.json").exists()


def test_images_without_boxes_may_be_missing_on_demand(small, tmp_path):
    images, tables = small
    (images / "00000012_000.png").unlink()
    document = document_of(prepare_nih(images, tmp_path / "d.json", tables, require="boxed"))
    assert document["source"]["images_left_out"] == 1
    assert document["source"]["counts"]["all"]["images"] == 19
    with pytest.raises(FileNotFoundError, match="missing are 00000012") as caught:
        prepare_nih(images, tmp_path / "d.json", tables, benchmark=True)
    assert "require" not in str(caught.value)


def test_a_benchmark_of_other_tables_is_said_to_be_another(small, tmp_path, caplog):
    images, tables = small
    with caplog.at_level(logging.INFO, "bundle.data.nih"):
        path = prepare_nih(images, tmp_path / "d.json", tables, benchmark=True)
    text = caplog.text
    assert "Not the benchmark of docs/benchmark_nih.md" in text
    assert "all: 20 images of 20 patients; 10 boxes on 10 images (Effusion 5, Mass 5)" in text
    assert "0 boxes clipped" in text
    assert [len(document_of(path)[fold]) for fold in FOLDS] == [4] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "random"}, "Found split 'random'; wanted patient or official"),
        ({"require": "none"}, "Found require 'none'"),
        ({"benchmark": True, "split": "official"}, "own folds"),
        ({"benchmark": True, "require": "boxed"}, "own folds"),
        ({"test": 0.95}, "sum to 1"),
    ],
)
def test_arguments_that_cannot_be_meant(small, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare_nih(small[0], tmp_path / "d.json", small[1], **arguments)


def test_boxes_of_images_that_the_label_table_lacks(small, tmp_path):
    images, tables = small
    with (tables / "BBox_List_2017.csv").open("a") as file:
        file.write("00000099_000.png,Mass,1,2,3,4\n")
    with pytest.raises(ValueError, match=r"boxes of 1 images that Data_Entry_2017\.csv does not have \(00000099"):
        prepare_nih(images, tmp_path / "d.json", tables)


def test_an_image_in_two_places_is_refused(tmp_path):
    write_images(tmp_path / "a", ["x.png"], parts=1)
    write_images(tmp_path / "b", ["x.png", "y.png"], parts=1)
    assert find_images(tmp_path, ["y.png", "z.png"]) == {"y.png": "b/images_001/images/y.png"}
    with pytest.raises(ValueError, match=r"found a/images_001/images/x\.png and b/images_001/images/x\.png"):
        find_images(tmp_path, ["x.png"])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_images(tmp_path / "c", ["x.png"])


def test_scaled_boxes_of_copies_and_refused_shapes():
    box = NIHBox("a.png", "Mass", (-10.0, 512.0, 100.0, 1024.0))
    assert scale_box(box, (1024, 1024)) == ([0, 512, 100, 1024], True)
    assert scale_box(box, (256, 256)) == ([0, 128, 25, 256], True)
    assert scale_box(NIHBox("a.png", "Mass", (0, 0, 1024, 1024)), (224, 224)) == ([0, 0, 224, 224], False)
    with pytest.raises(ValueError, match="found 300 x 200 pixels"):
        scale_box(box, (200, 300))
    with pytest.raises(ValueError, match="box of Mass outside the image"):
        scale_box(NIHBox("a.png", "Mass", (1024, 0, 1030, 5)), (1024, 1024))


def test_the_images_decide_the_size(small, tmp_path):
    images, tables = small
    Image.fromarray(np.zeros((64, 60), np.uint8)).save(images / "00000001_000.png")
    with pytest.raises(ValueError, match=r"00000001_000\.png: found 60 x 64 pixels"):
        prepare_nih(images, tmp_path / "d.json", tables)


def test_normal_images_are_one_a_patient_and_enough():
    images = [NIHImage(f"{p}_{n}.png", frozenset(), p, None, "", "") for p in "abc" for n in range(3)]
    images.append(NIHImage("d_0.png", frozenset({"Mass"}), "d", None, "", ""))
    drawn = draw_normal(images, {"b"}, 2)
    assert sorted(image.patient_id for image in drawn) == ["a", "c"]
    for image in drawn:
        hashes = [hashlib.sha256(f"{image.patient_id}_{n}.png".encode()).hexdigest() for n in range(3)]
        assert image.name == f"{image.patient_id}_{hashes.index(min(hashes))}.png"
    with pytest.raises(ValueError, match=r"Found 2 patients .* wanted 3"):
        draw_normal(images, {"b"}, 3)
