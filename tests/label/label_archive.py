"""Listing a DICOMweb archive in pages, by its credentials; sessions whose time is over. Run as label_modules.py is."""

import base64
import http.server
import json
import os
import threading
import time
import urllib.parse

import numpy as np
import pytest
import requests
from monailabel.config import settings

from bundle.label import archive as module
from bundle.label.app import RadiographSessions
from bundle.label.archive import Archive, ArchiveDatastore
from bundle.label.refusal import ArchiveError
from bundle.reading.options import DEFAULT_OPTIONS
from tests.orthanc import running_orthanc
from tests.tiny import FINDINGS, write_dicom

USER = ("reader", "of the archive")


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", USER[0])
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PASSWORD", USER[1])


def listed(url, folder):
    store = ArchiveDatastore(Archive(url, 10**7, seconds=30), str(folder), FINDINGS, [{"Modality": "DX"}])
    return store, store.list_images()


def test_orthanc_is_listed_in_pages_and_by_its_credentials_alone(tmp_path, monkeypatch, credentials):
    series = [f"1.2.3.{number}" for number in range(7)]
    with running_orthanc(tmp_path / "orthanc", AuthenticationEnabled=True, RegisteredUsers=dict([USER])) as orthanc:
        for uid in series:
            tags = {"SeriesInstanceUID": uid, "StudyInstanceUID": "1.2.3"}
            file = write_dicom(tmp_path / f"{uid}.dcm", np.ones((40, 30)), **tags)
            requests.post(orthanc.url("instances"), data=file.read_bytes(), auth=USER, timeout=30).raise_for_status()
        monkeypatch.setattr(module, "PAGE", 3)
        store, found = listed(orthanc.url("dicom-web"), tmp_path / "work")
        assert found == series
        assert store.get_image_uri("1.2.3.4").endswith("1.2.3.4.dcm")
        monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PASSWORD", "another")
        with pytest.raises(requests.HTTPError, match="401"):
            listed(orthanc.url("dicom-web"), tmp_path / "other")


class Hoarder(http.server.BaseHTTPRequestHandler):
    """An archive of seven series that gives three at a time whatever it is asked for; some know of no offset."""

    knows_offsets, endless, asked = True, False, 0

    def do_GET(self):
        type(self).asked += 1
        wanted = "Basic " + base64.b64encode(":".join(USER).encode()).decode()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        offset = int(query.get("offset", ["0"])[0]) if self.knows_offsets else 0
        numbers = range(offset, min(offset + 3, 10**9 if self.endless else 7))
        uid, modality = "0020000E", {"vr": "CS", "Value": ["DX"]}
        page = [{uid: {"vr": "UI", "Value": [f"1.2.{number}"]}, "00080060": modality} for number in numbers]
        body = json.dumps(page).encode()
        self.send_response(200 if self.headers["Authorization"] == wanted else 401)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("kind", "found", "asked"),
    [({}, 7, 4), ({"knows_offsets": False}, 3, 2), ({"endless": True}, None, 6)],
    ids=["few at a time", "no offsets", "endless"],
)
def test_an_archive_that_gives_fewer_than_it_is_asked_for(tmp_path, monkeypatch, credentials, kind, found, asked):
    monkeypatch.setattr(module, "MOST_SERIES", 15)
    handler = type("Handler", (Hoarder,), kind)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            if found is None:
                with pytest.raises(ArchiveError, match=r"more than 15 series; ask for fewer \(--modalities\)"):
                    listed(url, tmp_path)
            else:
                assert len(listed(url, tmp_path)[1]) == found
        finally:
            server.shutdown()
    assert handler.asked == asked


def test_sessions_go_when_their_time_is_over_also_those_that_a_kill_left(tmp_path):
    sessions, long_ago = RadiographSessions(DEFAULT_OPTIONS, str(tmp_path / "sessions")), time.time() - 7200
    kept = {}
    for name in ("used", "old"):
        file = write_dicom(tmp_path / "x.dcm", np.ones((40, 30)))
        kept[name] = tmp_path / "sessions" / sessions.add_session(str(file))[0]
    for name, notes in (("without notes", None), ("half", '{"name": '), ("on its way", None)):
        kept[name] = tmp_path / "sessions" / name
        kept[name].mkdir()
        (kept[name] / "radiograph.dcm").write_bytes(b"")
        if notes:
            (kept[name] / "meta.info").write_text(notes)
    for name in ("old", "without notes", "half"):
        for path in (*kept[name].iterdir(), kept[name]):
            os.utime(path, (long_ago, long_ago))
    assert sessions.remove_expired() == 3
    assert {name for name, folder in kept.items() if folder.exists()} == {"used", "on its way"}
    assert sessions.get_session(kept["used"].name) is not None
    assert sessions.get_session(kept["old"].name) is None
