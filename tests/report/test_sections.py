"""Tables beyond the main one: their numbers are those of the metrics, and what has no lesions says so."""

from dataclasses import replace

import numpy as np

from bundle.metrics import Records, by_size
from bundle.metrics.paired import compare
from bundle.metrics.shown import summarise_shown
from bundle.report.sections import comparison_section, size_section
from bundle.report.shown_section import shown_section
from bundle.report.tier_figure import draw_sizes
from tests.report.cases import FINDINGS, made_records

METHODS = {name: {"supervision": "none", "setting": "floor 0.1"} for name in ("ours", "theirs")}


def sized(area: float) -> Records:
    """Lesions of 6400 px with patches of this area; the first image's patches are smaller, so its Mass is larger."""
    records = made_records()
    areas = np.where(records.images.index == 0, 100.0, area)
    return replace(records, images=replace(records.images, patch_area=areas))


def text(cell: dict) -> str:
    return " ".join(filter(None, (cell["text"], cell["interval"], cell.get("below"))))


def test_means_and_findings_by_size() -> None:
    metrics, notes = by_size(sized(1e4), 40)
    section = size_section(FINDINGS, metrics, notes)
    assert section is not None
    means, findings = section.tables
    value, low, high = (metrics[f"froc/mean/size_small/sens_at_1fp{end}"] for end in ("", "/low", "/high"))
    pooled, least, most = (metrics[f"froc/mean/size_small/sens_at_1fp_pooled{end}"] for end in ("", "/low", "/high"))
    told = {name: [text(cell) for cell in cells] for name, cells in means.rows}
    assert told["Smaller than a patch"] == [
        *("19", "2 of 3", f"{value:.2f} {low:.2f} to {high:.2f}", "1.00"),
        f"{pooled:.2f} {least:.2f} to {most:.2f}",
    ]
    assert told["One to four patches"] == ["0", "0 of 3", *["no lesions"] * 3]
    assert told["Larger"][:2] == ["1", "1 of 3"]
    of = {name: [text(cell) for cell in cells] for name, cells in findings.rows}
    assert list(of) == list(FINDINGS)
    assert of["Nodule"] == ["no lesions"] * 3
    assert of["Effusion"][0].endswith("n = 12, ceiling 1.00")
    assert of["Effusion"][1:] == ["no lesions"] * 2
    assert of["Mass & <co>"][2].endswith("n = 1, ceiling 1.00")


def test_sizes_in_mm_join_those_in_patches_and_the_first_table() -> None:
    records = sized(1e4)  # boxes have sides of 80 px
    records = replace(records, images=replace(records.images, pixel_mm=np.full((24, 2), 0.25)))
    section = size_section(FINDINGS, *by_size(records, 40))
    assert section is not None
    rows = {name: cells[0]["text"] for name, cells in section.tables[0].rows}
    assert rows == {
        **{"Smaller than a patch": "19", "One to four patches": "0", "Larger": "1"},
        **{"up to 15 mm": "0", "15 to 30 mm": "20", "30 to 100 mm": "0", "above 100 mm": "0"},
    }
    assert any("In millimetres: longest side" in paragraph for paragraph in section.text)
    everything = np.ones((24, 3)), np.zeros(3), np.zeros(3), 3
    metrics, notes = summarise_shown(records, *everything, replicates=40)
    first = shown_section(FINDINGS, metrics, notes)
    assert first is not None
    cell = dict(first.tables[0].rows)["Lesions 15 to 30 mm"][1]
    assert text(cell).startswith(f"{metrics['shown/sensitivity_by_mm/mm_15_to_30']:.2f} ")
    assert text(cell).endswith("n = 20")
    first = shown_section(FINDINGS, *summarise_shown(sized(1e4), *everything, replicates=40))
    assert first is not None
    assert not any(name.startswith("Lesions") for name, _ in first.tables[0].rows)
    assert "pixel spacing of no image with lesions is known" in first.tables[0].caption


def test_there_is_no_section_without_a_grid() -> None:
    metrics, notes = by_size(sized(np.nan), 40)
    assert size_section(FINDINGS, metrics, notes) is None
    assert draw_sizes(FINDINGS, metrics) is None


def test_the_figure_says_where_there_are_no_lesions_and_is_the_same_each_time() -> None:
    metrics, _ = by_size(sized(1e4), 40)
    figure = draw_sizes(FINDINGS, metrics)
    assert figure == draw_sizes(FINDINGS, metrics)
    assert figure is not None
    assert f"Effusion {metrics['froc/Effusion/size_small/sens_at_1fp']:.2f}, no lesions, no lesions" in figure.alt
    assert "Nodule" not in figure.alt
    assert figure.svg.count(">no lesions<") == 1 + 2 + 1  # mean, Effusion, Mass


def test_the_comparison_says_where_there_are_no_lesions() -> None:
    for records, wanted in ((sized(1e4), "no lesions"), (sized(np.nan), "not defined")):
        metrics, notes = compare(dict.fromkeys(METHODS, records), "ours", 20)
        tables = comparison_section(metrics, notes, METHODS, "ours").tables
        (sizes,) = (table for table in tables if "by lesion size" in table.caption)
        (matched,) = (table for table in tables if "sensitivity of the method" in table.caption)
        assert [name for name, _ in matched.rows] == [name for name in METHODS if name != "ours"]
        assert [cells[1]["text"] for _, cells in sizes.rows] == [wanted] * 2
