"""What waits for MLflow, in files."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bundle.handlers import run_journal
from bundle.handlers.run_journal import Journal, left_behind

HEAD = {"op": "run", "token": "t", "name": "Müller's"}


def entry(number: int) -> dict[str, Any]:
    return {"op": "metrics", "values": {"loss": number / 8}, "step": number}


def found(folder: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    return [(left.head, left.entries) for left in left_behind(folder)]


def test_entries_are_found_in_order_when_their_process_is_gone(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "new", HEAD), Journal(tmp_path / "new", {**HEAD, "token": "u"})
    assert found(tmp_path / "new") == []  # both live
    for number in range(3):
        assert first.add(entry(number))
    first.clear()
    assert first.add(entry(3))
    assert first.add(entry(4))
    first.close()
    assert found(tmp_path / "new") == [(HEAD, [entry(3), entry(4)])]
    second.remove()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [first.path.name]


def test_a_process_that_is_killed_leaves_what_it_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if not (pid := os.fork()):
        Journal(tmp_path, HEAD).add(entry(1))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"op": "metr')  # cut short
    assert found(tmp_path) == [(HEAD, [entry(1)])]
    path.write_bytes(path.read_bytes() + b"\n")
    assert found(tmp_path) == []
    assert f"{path}, which waits for MLflow, is damaged" in caplog.text
    assert path.exists()


def test_a_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_journal, "LIMIT", 1000)
    journal = Journal(tmp_path, HEAD)
    kept = [number for number in range(100) if journal.add(entry(number))]
    assert 5 < len(kept) < 20
    assert journal.path.stat().st_size <= 1000
    journal.clear()
    assert journal.add(entry(0))
    journal.close()
