"""One TOML for node and label server: what it may hold, who wins, and that the real commands read it."""

import inspect
import os
import subprocess
import sys
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bundle.label import serve
from bundle.node.queue import DiskQueue
from bundle.node.sender import UnreachableError, make_sender
from bundle.service_settings import SERVICES, ServiceSettingsError, read_settings, settings_of
from scripts import dicom_node

ROOT = Path(__file__).resolve().parents[1]
GOOD = """
[node]
queue = "queue"
port = 11999
allowed = ["A", "B"]
queue_gb = 1.5
[label]
studies = "http://127.0.0.1:8042/dicom-web"
port = 8001
verbose = true
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "services.toml").write_text(GOOD)
    return tmp_path / "services.toml"


def test_its_keys_are_the_options_of_the_command_lines():
    assert set(inspect.signature(dicom_node.main).parameters) == SERVICES["node"].keys() - {"netrc"}
    options = {action.dest for action in serve._options()._actions} - {"help", "config"}
    assert options == SERVICES["label"].keys() - {"netrc"}


@pytest.mark.parametrize("spelt", [["--config", "{}"], ["--config={}"]])
def test_a_service_gets_its_section_and_the_rest_of_its_command_line(file, spelt):
    words = [word.format(file) for word in spelt]
    node = {"queue": "queue", "port": 11999, "allowed": ["A", "B"], "queue_gb": 1.5}
    assert settings_of("node", ["--port", "1", *words, "x"]) == (node, ["--port", "1", "x"])
    assert settings_of("node", ["--port", "1"]) == ({}, ["--port", "1"])


def test_every_fault_is_named_at_once_and_no_text_of_the_file_repeated(file):
    file.write_text(
        '[node]\nportt = 1\nport = 0\nallowed = "A"\ncapacity = true\nqueue_gb = nan\nqueue = ""\n'
        'send_to = "https://u:Secret@pacs/dicom-web"\npassword = "Secret"\n'
        '[labl]\nport = 1\n[label]\nstudies = 3\nverbose = "Secret"\nmax_upload_mb = -1\n'
    )
    with pytest.raises(ServiceSettingsError) as refused:
        read_settings(file, "node")
    assert str(refused.value).replace(str(file), "FILE").splitlines() == [
        "FILE: 12 to mend",
        "  [node] portt: no such key; did you mean port?",
        "  [node] port: found int 0; wanted a whole number of 1 to 65535",
        '  [node] allowed: found str; wanted a list of texts, such as ["AET", "AET"]',
        "  [node] capacity: found bool True; wanted a whole number of at least 1",
        "  [node] queue_gb: found float nan; wanted a number of at least 0",
        "  [node] queue: found str; wanted text that is not empty",
        "  [node] send_to: found a user or password in the address; put them into the file that the key netrc names",
        f"  [node] password: no such key; known here: {', '.join(SERVICES['node'])}",
        "  [labl]: no such section; did you mean label?",
        "  [label] studies: found int 3; wanted text that is not empty",
        "  [label] verbose: found str; wanted true or false",
        "  [label] max_upload_mb: found int -1; wanted a number of at least 0",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; --config wants a TOML file"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"[node]\nport =\n", "no TOML: .*line 2"),
        (b"port = 1\n", r"\[port\]: no such section"),
        (b"node = 1\n", r"\[node\]: no such section"),
        (b"[label]\n", r"there is no section \[node\]"),
    ],
)
def test_a_file_that_is_none_is_refused(file, content, message):
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServiceSettingsError, match=message):
        settings_of("node", ["--config", str(file)])


@pytest.mark.parametrize("arguments", [["--config"], ["--config="], ["--config", "--port"]])
def test_config_without_a_file_is_refused(arguments):
    with pytest.raises(ServiceSettingsError, match="found no file"):
        settings_of("node", arguments)


def test_the_label_server_takes_what_its_command_line_does_not_give(file, capsys):
    options = serve._parsed(["--config", str(file), "--port", "8002", "--no-verbose"])
    assert (options.studies, options.port, options.verbose) == ("http://127.0.0.1:8042/dicom-web", 8002, False)
    assert serve._parsed(["--config", str(file)]).verbose is True
    with pytest.raises(SystemExit):
        serve._parsed([])
    assert "--studies is needed, here or in the file of --config" in capsys.readouterr().err


def test_passwords_lie_in_a_private_file_and_reach_the_server_that_it_names(file, monkeypatch):
    monkeypatch.setenv("NETRC", "")  # what the settings put there goes with the test
    secret = file.with_name("netrc")
    secret.write_text("machine 127.0.0.1 login node password Secret\n")
    file.write_text(f'[node]\nnetrc = "{secret}"\n')
    secret.chmod(0o640)
    with pytest.raises(ServiceSettingsError, match=r"netrc: found mode 0640; wanted .* chmod 600"):
        settings_of("node", ["--config", str(file)])
    assert read_settings(file, "label")  # whose user may not see it
    secret.chmod(0o600)
    assert settings_of("node", ["--config", str(file)]) == ({}, [])
    got = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(UnreachableError):
            make_sender(f"http://127.0.0.1:{server.server_address[1]}").send([])
        thread.join()
    assert got == ["Basic " + b64encode(b"node:Secret").decode()]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("machine a login b passwort Secret\n", "found no netrc, line 1")],
)
def test_a_file_of_passwords_that_is_none_is_refused(file, content, message):
    secret = file.with_name("netrc")
    if content:
        secret.write_text(content)
        secret.chmod(0o600)
    file.write_text(f'[label]\nnetrc = "{secret}"\n')
    with pytest.raises(ServiceSettingsError, match=message) as refused:
        settings_of("label", ["--config", str(file)])
    assert "Secret" not in str(refused.value)


def node(folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "PAGER": "cat"}
    command = [sys.executable, "-m", "scripts.dicom_node", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_real_commands_read_it_and_their_arguments_win(file, tmp_path):
    DiskQueue(tmp_path / "queue")
    told = node(tmp_path, "status", "--config", "services.toml")
    assert (told.returncode, told.stdout.count("objects")) == (0, 4), told.stderr
    other = node(tmp_path, "status", "--config", "services.toml", "--queue", "other")
    assert "other" in other.stderr
    assert other.returncode != 0
    file.write_text(GOOD.replace("port = 11999", "prot = 11999"))
    refused = node(tmp_path, "--config", "services.toml")
    assert refused.returncode == 1
    assert refused.stderr == "services.toml: 1 to mend\n  [node] prot: no such key; did you mean port?\n"
