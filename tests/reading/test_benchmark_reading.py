"""The benchmark of reading runs, on few files, and prints a row a figure; what it asks of an import holds."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from scripts.benchmark_reading import ROOT, SYNTAXES, import_row, main


def test_the_benchmark_reads_every_transfer_syntax_both_ways(capsys):
    main(files=6, repeats=1, smallest=40, largest=60, markdown=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("|") for line in lines] == [4] * len(lines)
    assert len(lines) == 2 + len(SYNTAXES) + 2
    assert "2 files, uncompressed" in lines[2]
    assert all(re.search(r"[\d.]+ ms against [\d.]+ ms a file: [\d.]+x", line) for line in lines[2:-1])


def test_another_version_is_read_with_beside_ours(tmp_path):
    shutil.copytree(ROOT / "bundle", tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    reader = tmp_path / "bundle" / "reading" / "radiograph.py"
    reader.write_text(reader.read_text() + "\n\ndef read_radiograph(path):\n    raise RuntimeError(__file__)\n")
    with pytest.raises(RuntimeError, match=re.escape(str(reader))):
        main(files=1, repeats=1, smallest=40, largest=60, against=str(tmp_path))
    assert Path(sys.modules["bundle.reading.radiograph"].__file__).is_relative_to(ROOT)
    with pytest.raises(SystemExit, match="there is no reader there"):
        main(files=1, repeats=1, smallest=40, largest=60, against=str(tmp_path / "none"))


def test_importing_the_reader_is_cheap():
    _, measured, _ = import_row(1)
    seconds, megabytes = map(float, re.findall(r"[\d.]+", measured))
    assert megabytes < 150
    assert seconds < 30  # of a machine that may be busy; 3 are wanted of one that is not
