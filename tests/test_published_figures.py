"""The tables of the pages are those of the figures that were kept."""

import json
import re

import pytest

from scripts.publish_figures import KEPT, PAGES, rendered

TABLES = rendered(**json.loads(KEPT.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in PAGES.items() for name in names])
def test_a_table_is_what_was_measured(page, name):
    (text,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert text.strip() == TABLES[name].strip()
    assert len(text) > 100
