"""An archive that accepts and never answers, or never comes to an end: the server goes on, and ends when it is told."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.label.server import ENVIRONMENT, ROOT, Server

pytestmark = pytest.mark.slow
SECONDS = 4  # MONAI Label's own setting, 30 where nobody states it


class Archive:
    """Listens on loopback; `kind` says how it disappoints."""

    def __init__(self):
        self.kind, self.over = "silent", threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/dicom-web"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.over.set()
        self.listening.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._answer, args=(connection, self.kind), daemon=True).start()

    def _answer(self, connection, kind):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            if kind == "elsewhere":
                connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n")
            elif kind == "no json":
                connection.sendall(head + b"Content-Length: 4\r\n\r\n[{]}")
            elif kind == "endless":
                connection.sendall(head + b"\r\n")
                while not self.over.is_set():
                    connection.sendall(b" " * 100_000)
            elif kind == "slow head":
                self._drip(connection, head + b"X-More: " + b"x" * 10_000)
            elif kind == "slow body":
                connection.sendall(head + b"Content-Length: 10000\r\n\r\n")
                self._drip(connection, b" " * 10_000)
            else:
                self.over.wait(120)

    def _drip(self, connection, content):
        for byte in content:
            connection.sendall(bytes([byte]))
            if self.over.wait(0.2):
                return


@pytest.fixture(scope="module")
def disappointing():
    archive = Archive()
    yield archive
    archive.close()


@pytest.fixture(scope="module")
def waiting(tiny_package, disappointing, tmp_path_factory):
    """A server over that archive."""
    folder = tmp_path_factory.mktemp("waiting")
    command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", disappointing.url, "--model", tiny_package]
    environment = {**ENVIRONMENT, "MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT": str(SECONDS)}
    more = ["--work", folder / "work", "--max_upload_mb", "4"]
    server = Server([*command, *more], folder / "log", folder, "patch_clip", environment, ready="/ohif/")
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait(30)


ASKED = (
    ("GET", "/info/"),
    ("POST", "/infer/patch_clip?image=1.2.3"),
    ("GET", "/datastore/image?image=1.2.3"),
    ("POST", "/activelearning/uncertainty"),
    ("GET", "/proxy/dicom/qido/studies"),
    ("GET", "/proxy/dicom/wado/studies/1.2.3/series/1.2.4/metadata"),
)


def ask(server, method, path, seconds=30):
    started = time.monotonic()
    status = requests.request(method, server.url + path, timeout=seconds).status_code
    return status, time.monotonic() - started


@pytest.mark.parametrize("kind", ["silent", "slow head", "slow body", "endless", "elsewhere", "no json"])
def test_who_asks_such_an_archive_is_told_so_and_nobody_else_waits(waiting, disappointing, kind):
    disappointing.kind = kind
    with ThreadPoolExecutor(len(ASKED)) as pool:
        asked = {path: pool.submit(ask, waiting, method, path) for method, path in ASKED}
        time.sleep(0.2)
        status, took = ask(waiting, "GET", "/ohif/app-config.js", seconds=10)
        assert status == 200
        assert took < SECONDS / 2
        for path, answer in asked.items():
            status, took = answer.result()
            if kind == "no json" and path.startswith("/proxy"):
                assert status == 200  # led on as it is
            else:
                assert (status, path) == (502, path)
            assert took < 2 * SECONDS + 1  # of two searches the first is waited for


def test_no_more_than_some_wait_for_it_and_an_upload_is_looked_at_meanwhile(waiting, disappointing, studies):
    disappointing.kind = "silent"
    assert waiting.post(file=studies / "dx.dcm").status_code == 200  # the first takes longer
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(ask, waiting, "GET", "/proxy/dicom/studies") for _ in range(60)]
        time.sleep(0.2)
        assert waiting.post(file=studies / "dx.dcm", output="json").status_code == 200
        assert not all(answer.done() for answer in asked)
        assert {answer.result()[0] for answer in asked} == {502}


def test_the_server_ends_while_the_archive_is_silent(waiting, disappointing):
    """The last test: afterwards there is no server."""
    disappointing.kind = "silent"
    with ThreadPoolExecutor(len(ASKED)) as pool:
        asked = [pool.submit(ask, waiting, method, path) for method, path in ASKED]
        time.sleep(0.5)
        assert not any(answer.done() for answer in asked)
        started = time.monotonic()
        waiting.process.terminate()
        waiting.process.wait(20)
        assert time.monotonic() - started < 10
        for answer in asked:
            answer.exception()  # or the answer, if it was in time
    assert "Traceback" not in Path(waiting.log).read_text()
