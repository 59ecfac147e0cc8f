"""The benchmark of reading reads every transfer syntax, and with another version; what it asks of an import holds."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from scripts.benchmark_reading import ROOT, SYNTAXES, reading_import, reading_isolated

TINY = {"repeats": 1, "smallest": 40, "largest": 60}


def test_the_benchmark_reads_every_transfer_syntax_both_ways():
    rows = reading_isolated(files=6, **TINY)
    assert len(rows) == len(SYNTAXES) + 1
    assert rows[0].what.startswith("2 files, uncompressed")
    assert [row.name for row in rows[1:3]] == ["reading.isolated.jpeg_2000", "reading.isolated.jpeg_lossless"]
    assert all(len(row.measured) == 2 for row in rows)


def test_another_version_is_read_with_beside_ours(tmp_path):
    shutil.copytree(ROOT / "bundle", tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    reader = tmp_path / "bundle" / "reading" / "radiograph.py"
    reader.write_text(reader.read_text() + "\n\ndef read_radiograph(path):\n    raise RuntimeError(__file__)\n")
    with pytest.raises(RuntimeError, match=re.escape(str(reader))):
        reading_isolated(files=1, **TINY, against=str(tmp_path))
    assert Path(sys.modules["bundle.reading.radiograph"].__file__).is_relative_to(ROOT)
    with pytest.raises(SystemExit, match="there is no reader there"):
        reading_isolated(files=1, **TINY, against=str(tmp_path / "none"))


def test_importing_the_reader_is_cheap():
    time, memory = reading_import(1)
    assert memory.measured[0] < 150
    assert time.measured[0] < 30  # of a machine that may be busy; 3 are wanted of one that is not
