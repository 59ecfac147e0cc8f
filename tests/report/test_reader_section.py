"""Several readers from the datalist to the report: a real evaluation of an image that two of them looked at."""

import json

import pytest

from bundle.comparison.readers import ReaderPoint, read_points, write_points
from bundle.data.datalist import datalist_section
from bundle.report.reader_figure import draw_readers
from bundle.report.reader_section import reader_section
from tests.handlers.test_evaluation_report import evaluate
from tests.tiny import FINDINGS, write_tiny_data


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What an evaluation leaves where R1 drew every box and R2 the first half of them a little smaller."""
    path = write_tiny_data(tmp_path_factory.mktemp("read"), {"training": 1, "validation": 1, "test": 8})
    datalist = json.loads(path.read_text())
    for number, entry in enumerate(datalist["test"]):
        entry["readers"] = ["R1", "R2"]
        mine = [{**box, "reader": "R1"} for box in entry["boxes"]]
        theirs = [{**box, "box": [*box["box"][:3], box["box"][3] - 4], "reader": "R2"} for box in entry["boxes"]]
        entry["boxes"] = mine + theirs * (number < 4)
    path.write_text(json.dumps(datalist))
    output = path.parent / "eval"
    evaluate(path, output, replicates=20, gallery=0, items=datalist_section(path, "test", findings=FINDINGS))
    return output


def test_metrics_and_page(left):
    metrics = json.loads((left / "metrics.json").read_text())
    assert metrics["n_lesions/Mass"] == 4  # two readers' boxes of one mass are one lesion
    assert metrics["agreement/f1/Mass/R1|R2"] == pytest.approx(2 * 2 / (4 + 2))
    assert metrics["readers/Mass/R1/sensitivity"] == 1  # all that R2 saw
    assert metrics["readers/Mass/R1/fp_per_image"] == 2 / 8
    assert metrics["readers/Mass/R2/sensitivity"] == 0.5
    assert metrics["readers/Mass/R2/model_sensitivity"] == 1  # Mass is bright
    assert metrics["readers/Mass/R2/difference"] == 0.5
    assert metrics["readers/Mass/R2/difference/low"] < 0.5
    page = (left / "report.html").read_text()
    assert "Several readers" in page
    assert "R2: mean of findings" in page
    assert (left / "figures" / "readers.svg").is_file()


def test_drawn_again_from_the_file(left):
    points = read_points(left)
    assert [(p.reader, p.finding) for p in points] == [(r, f) for r in ("R1", "R2") for f in FINDINGS]
    figure = draw_readers(points)
    assert "R2, Mass: 0.50 at 0.00" in figure.alt
    assert figure.svg.count("R1") >= 2  # described, and in the legend
    assert "Mass,R2,reader,0.0,0.5\n" in figure.csv()
    curve = zip(points[-1].model_fp_per_image, points[-1].model_sensitivity, strict=True)
    network = (f"Mass,R2,network,{x},{y}\n" for x, y in curve)
    assert "".join(network) in figure.csv()
    write_points([], left)
    assert not (left / "readers.json").exists()
    assert read_points(left) == []


def test_without_readers_there_is_no_section():
    assert reader_section(["Mass"], {"auroc/mean": 0.5}, {}, []) is None
    assert draw_readers([]) is None
    assert draw_readers([ReaderPoint("a", "Mass", 0.1, 0.5, [0.0], [0.0])]) is not None
