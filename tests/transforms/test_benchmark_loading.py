"""The benchmark of loading runs, on few and small files, and prints a row a figure."""

import re

import pytest

from scripts.benchmark_loading import main


@pytest.mark.slow
def test_the_benchmark_compares_loaders_and_epochs(capsys):
    main(markdown=True, images=20, large=2, distinct=1, smallest=60, largest=80, canvas=40, repeats=1, workers=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [4] * 11
    assert re.search(r"the demo's step.*\d+ images/s", lines[2])
    assert sum(bool(re.search(r"images/s: [\d.]+x of the step", line)) for line in lines) == 4
    assert sum(bool(re.search(r"ms an image", line)) for line in lines) == 4
