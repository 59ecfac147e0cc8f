"""The page: whole in itself, sound markup, honest words; and it opens in a browser."""

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.metrics import FROCMetric, summarise
from bundle.report.figures import draw_figures
from bundle.report.html import Example, render_report
from tests.debian import path_of
from tests.report.cases import FINDINGS, made_records

CHROMIUM = shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "link", "img", "br", "hr", "input", "path", "use", "rect", "circle", "line"}


class Page(HTMLParser):
    """Elements with their attributes, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64), 90).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def html() -> str:
    records = made_records()
    metrics, notes = summarise(records, 40)
    return render_report(
        records,
        metrics,
        notes,
        draw_figures(records, metrics, 40),
        [Example(kind, f"{kind} of Effusion", f"alt {kind}", _jpeg()) for kind in ("hit", "miss", "false_positive")],
        {"findings": list(FINDINGS), "nested": [{"api_key": "hunter2", "tokenizer": "kept"}], "html": "</pre><script>"},
        "Simulated from one CT.",
        {"torch": "2.13.0"},
        "2026-01-02 03:04 UTC",
    )


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_tags_are_closed_and_nothing_is_fetched(page: Page) -> None:
    assert page.open == []
    for tag, attrs in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/")), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in "".join(page.text)
    assert not re.search(r"url\((?!['\"]?#)", "".join(page.text))


def test_every_picture_has_words(page: Page) -> None:
    assert len(page.all("img")) == 3
    assert all(attrs["alt"] for attrs in page.all("img"))
    plots = page.all("svg")
    assert len(plots) == 4
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert all(set((attrs["aria-labelledby"] or "").split()) <= ids for attrs in plots)


def test_it_can_be_read_by_keyboard_and_screen_reader(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("meta")[1]["name"] == "viewport"
    for landmark in ("header", "nav", "main", "footer", "title"):
        assert len(page.all(landmark)) == (5 if landmark == "title" else 1)  # four figures have titles too
    assert [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)][:2] == ["h1", "h2"]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all((attrs["href"] or "")[1:] in ids for attrs in page.all("a"))
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.all("th"))
    regions = [attrs for tag, attrs in page.elements if attrs.get("role") == "region"]
    assert all(attrs.get("tabindex") == "0" and attrs.get("aria-label") for attrs in regions)


def test_it_says_what_it_must(html: str, page: Page) -> None:
    words = " ".join(" ".join(page.text).split())
    assert "Simulated images. Simulated from one CT." in words
    assert "not for clinical use" in words
    assert "centre: the peak lies inside the box" in words
    assert "40 replicates, seed 0, 95% intervals (Wilson's for shares, Newcombe's for areas, percentiles" in words
    assert "drawing from 24 images" in words
    assert "Mass & <co>" in words
    assert "2026-01-02 03:04 UTC" in words
    assert "torch" in words
    assert "no lesions among the images that count" in html  # why Nodule has no sensitivity


def test_figures_of_the_table_are_those_of_the_metrics(page: Page) -> None:
    metrics, _ = summarise(made_records(), 40)
    words = " ".join(" ".join(page.text).split())
    for key in ("froc/mean/sens_at_1fp", "auroc/mean", "wafroc/Effusion"):
        value, low, high = (metrics[key + end] for end in ("", "/low", "/high"))
        assert (
            f"{value:.2f} {low:.2f} to {high:.2f}" in words
            or f"{value:.2f} 95% interval {low:.2f} to {high:.2f}" in words
        )


def test_configuration_is_text_and_without_secrets(html: str, page: Page) -> None:
    assert "hunter2" not in html
    words = "".join(page.text)
    assert '"api_key": "(withheld)"' in words
    assert '"tokenizer": "kept"' in words
    assert '"html": "</pre><script>"' in words


def test_real_images_carry_no_simulation_banner_and_empty_results_still_make_a_page() -> None:
    records = FROCMetric(FINDINGS).records()
    metrics, notes = summarise(records, 0)
    page = Page(render_report(records, metrics, notes, [], description="NIH ChestX-ray14, test section."))
    words = " ".join(" ".join(page.text).split())
    assert page.open == []
    assert "Simulated images." not in words
    assert "NIH ChestX-ray14, test section." in words
    assert "No figure is defined" in words
    assert not page.all("img")


def test_a_browser_shows_it(html: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-component-update",
    ]
    flags += ["--disable-background-networking", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    picture = tmp_path / "page.png"
    subprocess.run(
        [
            CHROMIUM or path_of("chromium"),
            *flags,
            f"--screenshot={picture}",
            "--window-size=1000,1600",
            (tmp_path / "report.html").as_uri(),
        ],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
    )
    got = np.asarray(Image.open(picture).convert("RGB"))
    assert got.shape[:2] == (1600, 1000)
    banner = (got == (0xFF, 0xF4, 0xE5)).all(-1)  # the simulation banner, near the top
    assert banner[:600].sum() > 10_000
    assert banner[900:].sum() == 0
    swatch = (got == (0xE6, 0x9F, 0x00)).all(-1)  # Effusion's colour in the table
    assert swatch.sum() > 50
