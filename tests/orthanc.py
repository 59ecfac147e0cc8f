"""A real PACS on loopback, for tests of what comes from one and goes to one."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

from tests.debian import path_of


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url) as answer:
        return json.load(answer)
    return None


def listens(url):
    """Whether it answers, also by asking for a password."""
    try:
        urllib.request.urlopen(url).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)


class Orthanc:
    """A real PACS on loopback, with its data in a folder, that can be stopped and started again."""

    def __init__(self, folder, **more):
        self.http, self.dicom = free_port(), free_port()
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "Plugins": ["/usr/share/orthanc/plugins"],
            "DicomWeb": {"Enable": True},
            **more,
        }
        folder.mkdir()
        self.settings = folder / "orthanc.json"
        self.settings.write_text(json.dumps(settings))
        self.log = folder / "log"
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["Orthanc", str(self.settings)], stdout=log, stderr=log)
        wait_for(lambda: listens(self.url("system")))

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def url(self, path):
        return f"http://127.0.0.1:{self.http}/{path}"

    def instances(self):
        return answers(self.url("instances"))


@contextlib.contextmanager
def running_orthanc(folder, **more):
    """Orthanc with its data in a folder and more of its settings; the test is skipped where it is not installed."""
    path_of("Orthanc")
    server = Orthanc(folder, **more)
    try:
        yield server
    finally:
        server.stop()
