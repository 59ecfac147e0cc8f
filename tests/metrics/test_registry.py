"""Every figure has one place that says what it is, what makes it and what interval it has."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bundle.comparison.localised import above_baselines
from bundle.metrics.group_gaps import gaps_between_groups
from bundle.metrics.image_level import choose_operating_points, summarise_images
from bundle.metrics.intervals import Area, Difference, Share
from bundle.metrics.paired import compare
from bundle.metrics.planned import Planned
from bundle.metrics.registry import FIGURES, figure_of, heading, key_table, name_of, unregistered
from bundle.metrics.shown import summarise_shown
from bundle.metrics.strata import by_size
from bundle.metrics.subgroups import by_subgroup
from bundle.metrics.summary import summarise
from bundle.metrics.table import FigureTable
from tests.metrics.drawn import random_evaluation, records_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
KINDS = {Share: "share", Area: "area", Difference: "difference", type(None): "percentiles"}
LIMITS = (np.full(3, 0.3), np.full(3, 0.5), 3)


@pytest.fixture
def tables(monkeypatch) -> list[FigureTable]:
    """Every table that is finished from here on."""
    finished, finish = [], FigureTable.finish

    def keep(self):
        finished.append(self)
        return finish(self)

    monkeypatch.setattr(FigureTable, "finish", keep)
    return finished


def test_figures_and_their_intervals_are_as_registered(tables):
    candidates, truths, scores = random_evaluation(60)
    scores = [{name: each / 1.4 for name, each in image.items()} for image in scores]  # 0..1
    one, two = (records_of(candidates, truths, scores) for _ in range(2))
    probability = one.images.scores["image"]
    info = {int(n): {"sex": "FM"[n % 2], "age": 20 + n, "view": "PA", "vendor": "", "site": ""} for n in range(60)}
    summarise(one, 20)
    summarise_images(one, choose_operating_points(one, "image"), 20)
    by_size(one, 20)
    by_subgroup(one, info, 20, min_positives=1)
    gaps_between_groups(one, info, probability, *LIMITS, replicates=20, least=1)
    summarise_shown(one, probability, *LIMITS, replicates=20)
    compare({"a": one, "b": two}, "a", 20, sensitivities=[0.5], planned={"p": Planned("b", "superiority", 0.0)})
    above_baselines({"a": one, "b": two}, ["b"], 20)
    seen = set()
    for table in tables:
        for key in table.values:
            known = figure_of(key)
            assert known is not None, key
            seen.add(known[0].key)
            if key in table.draws and "fp_at" not in key:
                assert known[0].interval == KINDS[type(table.kinds.get(key))], key
    parts = ("n_", "froc/", "wafroc/", "auroc/", "ap/", "operating/", "ece", "shown/", "subgroup/", "gap/", "compare/")
    wanted = {figure.key for figure in FIGURES if figure.key.startswith((*parts, "above/", "planned/", "net_benefit/"))}
    # what is not drawn here: the size of pixels
    assert wanted - seen == {key for key in wanted if "by_mm" in key or key == "shown/n_lesions/{tier}"}


def test_what_makes_a_figure_is_there():
    for figure in FIGURES:
        module, function = figure.made_by.rsplit(".", 1)
        assert callable(getattr(import_module(f"bundle.{module}"), function)), figure.key


def test_names_have_the_parts_of_the_key():
    assert name_of("froc/{}/sens_at_0.25fp") == "sensitivity at 0.25 FP/image per finding"
    assert heading("compare/a/mean/auroc/difference") == "Difference of AUROC"
    assert heading("retrieval/image_to_report/r_at_5") == "R@5"
    with pytest.raises(ValueError, match=r"no figure has the key 'froc/mean'.*registry"):
        name_of("froc/mean")


def test_a_key_without_a_figure_or_with_an_interval_that_it_has_not():
    keys = ["auroc/A", "auroc/A/low", "n_images/A", "n_images/A/low", "froc/A", "compare/a/A/auroc/ratio/of"]
    assert unregistered(keys) == ["n_images/A/low", "froc/A", "compare/a/A/auroc/ratio/of"]


def test_published_figures_are_registered():
    kept = json.loads((DOCS / "demo_figures.json").read_text(encoding="utf-8"))
    assert unregistered([*kept["metrics"], *kept["comparison"]]) == []


def test_the_documentation_lists_them_all():
    assert key_table() in (DOCS / "evaluation.md").read_text(encoding="utf-8")
