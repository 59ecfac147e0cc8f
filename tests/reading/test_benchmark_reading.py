"""The benchmark of reading runs, on few files, and prints a row a figure; what it asks of an import holds."""

import re

from scripts.benchmark_reading import SYNTAXES, import_row, main


def test_the_benchmark_reads_every_transfer_syntax_both_ways(capsys):
    main(files=6, repeats=1, smallest=40, largest=60, markdown=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("|") for line in lines] == [4] * len(lines)
    assert len(lines) == 2 + len(SYNTAXES) + 2
    assert "2 files, uncompressed" in lines[2]
    assert all(re.search(r"[\d.]+ ms against [\d.]+ ms a file: [\d.]+x", line) for line in lines[2:-1])


def test_importing_the_reader_is_cheap():
    _, measured, _ = import_row(1)
    seconds, megabytes = map(float, re.findall(r"[\d.]+", measured))
    assert megabytes < 150
    assert seconds < 30  # of a machine that may be busy; 3 are wanted of one that is not
