"""The tables of the pages are those of the figures that were kept."""

import json
import re

import pytest

from scripts import publish_experiments
from scripts.publish_figures import KEPT, PAGES, rendered

TABLES = rendered(**json.loads(KEPT.read_text(encoding="utf-8")))
EXPERIMENTS = json.loads(publish_experiments.KEPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in PAGES.items() for name in names])
def test_a_table_is_what_was_measured(page, name):
    assert placed(page, name) == TABLES[name].strip()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiments_table_is_what_was_measured(name):
    _, page, table = publish_experiments.TABLES[name]
    assert placed(page, name) == table(EXPERIMENTS[name]).strip()


def placed(page, name):
    """What stands in a table's place in a page."""
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(text) > 100
    return text.strip()
