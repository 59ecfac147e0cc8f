"""A MONAI Label server in a process of its own, and a client."""

import email
import hashlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import requests

ROOT = Path(__file__).resolve().parents[2]
LABEL_PYTHON = ROOT / ".venv-label" / "bin" / "python"
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class Server:
    """Started by a command, ready when `ready` is answered; `--port` is added to the command."""

    def __init__(self, command, log, cwd, model, environment=ENVIRONMENT, ready="/info/"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.model, self.log = f"http://127.0.0.1:{self.port}", model, log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*map(str, command), "--port", str(self.port)], cwd=cwd, env=environment, stdout=file, stderr=file
            )
        deadline = time.monotonic() + 600  # the first start installs
        while True:
            assert self.process.poll() is None, log.read_text()[-6000:]
            try:
                self.request("GET", ready)
                return
            except requests.ConnectionError:
                assert time.monotonic() < deadline, log.read_text()[-6000:]
                time.sleep(0.5)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) is not None

    def info(self):
        return self.request("GET", "/info/").json()

    def request(self, method, path, **more):
        with requests.Session() as session:
            return session.request(method, self.url + path, timeout=300, **more)

    def post(self, image=None, file=None, output=None, **params):
        """POST /infer of a name or a file; the bare answer."""
        query = {key: value for key, value in {"image": image, "output": output}.items() if value}
        data = {"params": json.dumps(params)}
        if file is None:
            return self.request("POST", f"/infer/{self.model}", params=query, data=data)
        name, content = (file.name, file.read_bytes()) if isinstance(file, Path) else file
        return self.request("POST", f"/infer/{self.model}", params=query, data=data, files={"file": (name, content)})

    def infer(self, tmp_path, image=None, file=None, **params):
        """(NIfTI image, params) of one POST /infer."""
        answer = self.post(image, file, **params)
        assert answer.status_code == 200, answer.text
        head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
        parts = {p.get_param("name", header="content-disposition"): p for p in parsed(head + answer.content)}
        path = tmp_path / "result.nii.gz"
        path.write_bytes(parts["image"].get_payload(decode=True))
        return nibabel.load(path), json.loads(parts["params"].get_payload(decode=True))

    def rss_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def hashes(folder):
    """SHA-256 of every file, and None of every folder, by the path below `folder`."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.rglob("*")
    }


def parsed(content):
    return email.message_from_bytes(content).get_payload()


def plane(image):
    """A (W, H, 1) NIfTI image as (H, W)."""
    array = np.asarray(image.dataobj)
    assert array.shape[2:] == (1,)
    return array[:, :, 0].T
