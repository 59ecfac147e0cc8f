"""What a person asks of a queue: scripts.dicom_node status, requeue, discard."""

import subprocess
import sys
from pathlib import Path

import pytest

from bundle.node.queue import DiskQueue

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def queue(tmp_path):
    queue = DiskQueue(tmp_path / "queue")
    (tmp_path / "image").write_bytes(b"pixels")
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        queue.put(queue.key(uid), tmp_path / "image")
        queue.refuse(queue.key(uid), "ValueError: it is colour")
    return queue


def ask(folder, *words):
    command = [sys.executable, "-m", "scripts.dicom_node", *words]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_queue_is_looked_at_and_its_objects_put_back_while_a_node_has_it(queue, tmp_path):
    told = ask(tmp_path, "status", "--queue", "queue").stdout
    assert "refused: 3 objects, 18 bytes" in told
    assert f"{queue.key('1.2.4')} (incoming, 6 bytes): ValueError: it is colour" in told
    assert "1.2.4" not in told
    assert ask(tmp_path, "requeue", "1.2.4", "--queue", "queue").stdout == "1 put back\n"
    assert queue.next_incoming().key == queue.key("1.2.4")
    assert ask(tmp_path, "discard", queue.key("1.2.3"), "--queue", "queue").stdout == "1 removed\n"
    assert ask(tmp_path, "requeue", "--queue", "queue").stdout == "1 put back\n"
    assert queue.counts() == {"incoming": 2, "results": 0, "done": 0, "refused": 0}
    missing = ask(tmp_path, "status", "--queue", "other")
    assert missing.returncode != 0
    assert "queue.db is missing: give the folder of a queue (--queue)" in missing.stderr
