"""Figures: both formats, words beside them, and the right ones left out."""

import io
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from bundle.metrics import FROCMetric, Records, summarise
from bundle.report.figure import Figure
from bundle.report.figures import draw_figures
from tests.report.cases import FINDINGS, made_records

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def records() -> Records:
    return made_records()


@pytest.fixture(scope="module")
def figures(records: Records) -> list[Figure]:
    return draw_figures(records, summarise(records, 40)[0], replicates=40)


def test_all_four_are_drawn_as_png_and_svg(figures: list[Figure]) -> None:
    assert [figure.name for figure in figures] == ["froc", "sensitivity", "auroc", "cnr"]
    for figure in figures:
        picture = Image.open(io.BytesIO(figure.png))
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 24)) > 10
        assert picture.info["Description"] == figure.alt


def test_svg_has_title_description_text_and_ids_of_its_own(figures: list[Figure]) -> None:
    seen: set[str] = set()
    for figure in figures:
        root = ET.fromstring(figure.svg)
        assert root.get("role") == "img"
        by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
        named = [by_id[name] for name in (root.get("aria-labelledby") or "").split()]
        assert [element.text for element in named] == [figure.title, figure.alt]
        assert "Effusion" in " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
        assert not seen & set(by_id)
        seen |= set(by_id)
        used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', figure.svg)
        assert {a or b for a, b in used} <= set(by_id)
        assert not re.search(r'(href|src)="http', figure.svg)


def test_the_words_hold_the_numbers(figures: list[Figure], records: Records) -> None:
    metrics, _ = summarise(records, 40)
    froc, sensitivity, auroc, cnr = figures
    value, low = metrics["froc/Effusion/sens_at_1fp"], metrics["froc/Effusion/sens_at_1fp/low"]
    assert value is not None
    assert low is not None
    for figure in (froc, sensitivity):
        assert f"Effusion {value:.2f} ({low:.2f} to" in figure.alt
    assert "Nodule not defined" in sensitivity.alt
    assert f"Mass & <co> {metrics['auroc/Mass & <co>']:.2f}" in auroc.alt
    assert cnr.alt.count(";") == 2  # mean, Effusion, Mass


def test_figures_are_the_same_each_time(records: Records, figures: list[Figure]) -> None:
    again = draw_figures(records, summarise(records, 40)[0], replicates=40)
    assert [(f.png, f.svg) for f in again] == [(f.png, f.svg) for f in figures]


def test_nothing_is_drawn_of_nothing() -> None:
    records = FROCMetric(FINDINGS).records()
    assert draw_figures(records, summarise(records, 0)[0], replicates=0) == []
