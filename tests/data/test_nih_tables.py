"""NIH's tables: the real ones, read a second time by a few lines of their own, and what a table can have wrong."""

import gzip
from collections import Counter

import pytest

from bundle.data import nih_tables
from bundle.data.nih_tables import (
    BOX_FINDINGS,
    BOX_TABLE,
    FINDINGS,
    IMAGE_TABLE,
    find_table,
    packaged_tables,
    read_boxes,
    read_images,
)
from tests.nih_files import BOX_HEADER, IMAGE_HEADER, image_row, real_tables, write_tables

# data of the publication, by the label table's names
BOXES = {
    "Atelectasis": 180,
    "Cardiomegaly": 146,
    "Effusion": 153,
    "Infiltration": 123,
    "Mass": 85,
    "Nodule": 79,
    "Pneumonia": 120,
    "Pneumothorax": 98,
}


def lines_of(stem):
    """The fields of the real table's rows; no field of it is quoted."""
    text = gzip.decompress(find_table(packaged_tables(), stem).read_bytes()).decode()
    return [line.split(",") for line in text.splitlines()[1:]]


@pytest.fixture(scope="module")
def images():
    return real_tables()[0]


@pytest.fixture(scope="module")
def boxes():
    return real_tables()[1]


def test_the_real_boxes(boxes):
    assert len(boxes) == 984
    assert len({box.image for box in boxes}) == 880
    assert Counter(box.finding for box in boxes) == BOXES
    assert set(BOX_FINDINGS) == set(BOXES)
    assert Counter(Counter((box.image, box.finding) for box in boxes).values()) == {1: 984}  # never two of a finding
    assert sum(count == 1 for count in Counter(box.image for box in boxes).values()) == 787
    for box, (image, label, x, y, w, h) in zip(boxes, lines_of(BOX_TABLE), strict=True):
        assert box.image == image
        assert box.finding == label.replace("Infiltrate", "Infiltration")
        x0, y0, x1, y1 = box.corners
        assert (x0, y0, x1 - x0, y1 - y0) == pytest.approx(tuple(map(float, (x, y, w, h))))
        assert 0 <= x0 < x1 <= 1024
        assert 0 <= y0 < y1 <= 1024


def test_the_real_labels(images, boxes):
    assert len(images) == 112_120
    assert len({image.patient_id for image in images}) == 30_805
    counts = Counter(label for image in images for label in image.labels)
    assert set(counts) == set(FINDINGS)
    assert (counts["Infiltration"], counts["Hernia"], counts["Effusion"]) == (19_894, 227, 13_317)
    assert sum(not image.labels for image in images) == 60_361
    assert Counter(image.sex for image in images) == {"M": 63_340, "F": 48_780}
    assert Counter(image.view for image in images) == {"PA": 67_310, "AP": 44_810}
    ages = [image.age for image in images]
    assert None not in ages
    assert (min(ages), max(ages)) == (0, 95)
    for image, fields in zip(images, lines_of(IMAGE_TABLE), strict=True):
        assert (image.name, image.patient_id, image.age) == (fields[0], fields[3], float(fields[4]))
        assert "|".join(sorted(image.labels)) == "|".join(sorted(fields[1].split("|"))).replace("No Finding", "")
    labels = {image.name: image.labels for image in images}
    assert all(box.finding in labels[box.image] for box in boxes)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("58", 58),
        ("058Y", 58),
        ("000", 0),
        ("011M", 0.92),
        ("026W", 0.5),
        ("003D", 0.01),
        ("120", 120),
        ("121", None),
        ("414Y", None),
        ("", None),
    ],
)
def test_ages_of_all_releases(tmp_path, text, age):
    table = write_tables(tmp_path, [image_row("00000001_000.png", "Mass|Edema", text, "F", "AP")], [])
    (image,) = read_images(table / "Data_Entry_2017.csv")
    assert image == nih_tables.NIHImage("00000001_000.png", frozenset({"Mass", "Edema"}), "1", age, "F", "AP")


def test_a_mended_header_a_byte_order_mark_and_zipped_tables_read_alike(tmp_path):
    row = "a.png,Infiltrate,1.5,2,3,4"
    path = write_tables(tmp_path, [], [row]) / "BBox_List_2017.csv"
    zipped = tmp_path / "other.csv.gz"
    zipped.write_bytes(gzip.compress(("\ufeffImage Index,Finding Label,x,y,w,h\r\n" + row + "\r\n\r\n").encode()))
    assert read_boxes(path) == read_boxes(zipped)
    assert read_boxes(path) == [nih_tables.NIHBox("a.png", "Infiltration", (1.5, 2, 4.5, 6))]


def test_the_newest_table_of_a_folder_is_taken(tmp_path):
    for name in ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv.gz", "BBox_List_2017.csv"):
        (tmp_path / name).write_text("")
    assert find_table(tmp_path, IMAGE_TABLE).name == "Data_Entry_2017_v2020.csv"
    (tmp_path / "BBox_List_2017.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"found no BBox_List_2017\*\.csv"):
        find_table(tmp_path, BOX_TABLE)


def test_every_fault_of_the_label_table_is_named(tmp_path):
    path = tmp_path / "table.csv"
    rows = [
        image_row("00000001_000.png", "Infiltrate"),
        image_row("00000001_000.png"),
        image_row("00000002_000.png", age="old"),
        "00000003_000.png,Mass,0,,5,F,PA",
        "00000004_000.png,Mass",
    ]
    path.write_text("\n".join([IMAGE_HEADER, *rows]))
    with pytest.raises(ValueError, match="5 faults in the table") as caught:
        read_images(path)
    message = str(caught.value)
    for part in (
        "line 2: found the label 'Infiltrate' (did you mean Infiltration?)",
        "line 3: found the image '00000001_000.png' twice",
        "line 4: found the age 'old'",
        "line 5: found no patient",
        "line 6: found 2 fields; wanted at least 7",
    ):
        assert part in message


def test_every_fault_of_the_box_table_is_named(tmp_path):
    path = tmp_path / "table.csv"
    rows = ["a.png,Masses,1,2,3,4", "a.png,Mass,1,2,0,4", "a.png,Mass,1,nan,3,4", "a.png,Mass,1,2,3,", "a.png,Mass"]
    path.write_text("\n".join([BOX_HEADER, *rows]))
    with pytest.raises(ValueError, match="5 faults in the table") as caught:
        read_boxes(path)
    assert "line 2: found the label 'Masses' (did you mean Mass?)" in str(caught.value)
    assert all(f"line {line}: found" in str(caught.value) for line in range(2, 7))


def test_more_faults_than_anyone_reads_are_counted(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([BOX_HEADER, *["a.png,Mass,1,2,3,-4"] * 30]))
    with pytest.raises(ValueError, match=r"30 faults(?s:.*)and 20 more$"):
        read_boxes(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"Image,Label\n", "found no column imageindex, findinglabel, x, y, w, h in the header 'Image,Label'"),
        ("t.csv", b"", "found no column imageindex"),
        ("t.csv", b"\xff\xfe\x00", "no whole text file"),
        ("t.csv.gz", b"Image Index", "no whole text file"),
        ("t.csv.gz", gzip.compress(b"Image Index" * 99, mtime=0)[:-20], "no whole text file"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_boxes(tmp_path / name)


def test_without_torchxrayvision_the_message_says_how_to_get_the_tables(monkeypatch):
    monkeypatch.setattr(nih_tables.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps torchxrayvision==1\.5\.7.*--tables"):
        packaged_tables()
