"""What is printed of a step's cost: the sparse head's benchmark, and the table of docs/scaling.md."""

import re

from scripts import benchmark_sparse, scaling_model
from tests.checkout import ROOT


def test_the_benchmark_compares_both_ways(capsys):
    benchmark_sparse.main(sets=4, large=40, small=3, width=16, repeats=1, markdown=True)
    assert re.search(r"of like size against padded *\| \d+ ms against \d+ ms: \d+\.\d\dx", capsys.readouterr().out)


def test_the_models_table_is_what_the_script_prints(capsys):
    scaling_model.main(markdown=True)
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "scaling.md").read_text()
