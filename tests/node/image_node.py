"""The node as its image has it, without the image: its Containerfile's packages and words, and its settings."""

import json
import os
import re
import subprocess
import tomllib
import urllib.request
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification

from bundle.node.desk import Desk
from tests.lean import ROOT, environment
from tests.orthanc import free_port, wait_for
from tests.tiny import write_dicom

DEPLOY = ROOT / "scripts" / "deploy"


def said_by_the_image(package: Path, folder: Path) -> tuple[int, list[str], bytes, str]:
    """Start it and ask it.

    Args:
        package: a packaged bundle.
        folder: for what is made.

    Returns:
        (status of C-ECHO, suffixes of a radiograph's results, which wait, answer of /healthz, the log after its end).
    """
    node = (DEPLOY / "serving.containerfile").read_text().partition("AS label")[0]
    words = re.search(r"RUN bash scripts/deploy/make_venv\.sh (.*)", node)[1].split()
    (folder / "packages.txt").write_text("\n".join(["-r requirements-inference.txt", *words[2:]]))
    assert words[:2] == ["-r", "requirements-inference.txt"]
    python, _ = environment(folder / "venv", str(folder / "packages.txt"))

    settings = tomllib.loads((DEPLOY / "services.toml").read_text())
    settings["node"] |= {"bundle": str(package), "queue": str(folder / "queue"), "allowed": ["PYNETDICOM"]}
    del settings["node"]["send_to"]
    settings["node"] |= {"port": (port := free_port()), "monitor_port": (monitor := free_port())}
    lines = [f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in s.items()) for name, s in settings.items()]
    (folder / "services.toml").write_text("".join(lines))

    command = json.loads(re.search(r"ENTRYPOINT (.*)", node)[1]) + json.loads(
        re.search(r"CMD (\[\"--config.*)", node)[1]
    )
    at = {
        "/opt/patch_clip/.venv/bin/python": str(python),
        "/etc/patch_clip/services.toml": str(folder / "services.toml"),
    }
    command = [at.get(word, word) for word in command]
    command[command.index("0.0.0.0")] = "127.0.0.1"  # a test opens nothing
    said = dict(word.split("=", 1) for word in re.search(r"ENV (.*\\\n.*)", node)[1].replace("\\\n", " ").split())
    variables = {**os.environ, **said, "PYTHONPATH": str(ROOT), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=file, stderr=file)
    try:
        wait_for(lambda: process.poll() is not None or "listens on" in log.read_text(), 900)
        assert process.poll() is None, log.read_text()
        entity = AE()
        entity.add_requested_context(Verification)
        entity.add_requested_context(DigitalXRayImageStorageForPresentation)
        association = entity.associate("127.0.0.1", port, ae_title="PATCHCLIP")
        assert association.is_established
        echo = association.send_c_echo().Status
        pixels = np.random.default_rng(0).integers(0, 4096, (90, 140))
        study = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
        assert association.send_c_store(dcmread(write_dicom(folder / "a.dcm", pixels, **study))).Status == 0
        association.release()
        queue = Desk(folder / "queue")
        wait_for(lambda: process.poll() is not None or queue.loads()["incoming"].objects == 0, 300)
        results = sorted(path.suffix for path in (folder / "queue" / "results").rglob("*.dcm"))
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/healthz", timeout=20) as answer:
            healthy = answer.read()
        process.terminate()
        assert process.wait(120) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(30)
    return echo, results, healthy, log.read_text()
