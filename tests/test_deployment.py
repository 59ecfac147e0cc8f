"""What scripts/deploy says agrees with what there is: files, options, requirements, ports, paths. No image is built."""

import inspect
import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from bundle.label import serve
from bundle.node.monitor import start_monitor
from bundle.service_settings import read_settings, settings_of
from bundle.watch import Watch
from scripts import dicom_node
from tests.debian import path_of
from tests.lean import stated
from tests.orthanc import answers, free_port, running_orthanc

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "scripts" / "deploy"
CONTAINERFILES = sorted(DEPLOY.glob("*.containerfile"))
SETTINGS = tomllib.loads((DEPLOY / "services.toml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def steps(file):
    """(instruction, its text with continued lines joined) of a Containerfile."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", file.read_text()))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def of(file, instruction):
    return [text for name, text in steps(file) if name == instruction]


def test_the_settings_are_taken_by_both_services():
    assert read_settings(DEPLOY / "services.toml", "node").keys() == {"node", "label"}


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.stem)
def test_an_image_is_made_of_files_that_are_there_and_runs_as_nobody_special(file):
    for text in of(file, "COPY"):
        if not text.startswith("--from"):
            for source in text.split()[:-1]:
                assert list(ROOT.glob(source)), source
    for text in of(file, "RUN"):
        for name in re.findall(r"requirements[-\w]*\.txt|scripts/[\w/]+\.sh", text):
            assert (ROOT / name).is_file(), name
    assert of(file, "USER")[-1] != "root"
    assert [base for base in of(file, "FROM") if not base.startswith("${BASE}")] in ([], ["node AS label"])


@pytest.mark.parametrize("name", ["serving", "training"])
def test_packages_are_pinned(name):
    pinned = {each.name.lower() for each in stated("constraints.txt")}
    (text, *_) = [each for each in of(DEPLOY / f"{name}.containerfile", "RUN") if "make_venv.sh" in each]
    words = text.partition("&&")[0].split()[2:]
    files = [word for word in words if word.endswith(".txt")]
    names = {word for word in words if word != "-r"} - set(files)
    assert names <= pinned
    for each in (each for file in files for each in stated(file)):
        assert each.name.lower() in pinned or str(each.specifier).startswith("=="), each


def test_a_variant_that_is_none_is_refused_before_anything_is_installed(tmp_path):
    script = (DEPLOY / "make_venv.sh").read_text().replace("python3 -m venv .venv", ":")
    (tmp_path / "make_venv.sh").write_text(script)
    told = subprocess.run(
        ["bash", "make_venv.sh"], cwd=tmp_path, env={**os.environ, "VARIANT": "gpu"}, capture_output=True, text=True
    )
    assert (told.returncode, told.stderr) == (1, "VARIANT: found 'gpu'; wanted cpu or cuda\n")


def service_command(name):
    """Words behind the entry point of a service's image, with what the settings give."""
    words = SERVICES[name]["command"]
    assert "/etc/patch_clip/services.toml" in " ".join(words)
    return [word.replace("/etc/patch_clip/services.toml", str(DEPLOY / "services.toml")) for word in words]


def test_the_node_of_the_compose_file_gets_options_that_it_has():
    settings, others = settings_of("node", service_command("node"))
    given = dict(zip(others[::2], others[1::2], strict=True))
    assert given == {"--host": "0.0.0.0", "--send_to": "ORTHANC@orthanc:4242"}
    assert {word.removeprefix("--") for word in given} | settings.keys() <= inspect.signature(
        dicom_node.main
    ).parameters.keys()
    assert settings["port"] == 11112


def test_the_label_server_of_the_compose_file_gets_options_that_it_has():
    options = serve._parsed(service_command("label"))
    assert (options.host, options.port, options.studies) == ("0.0.0.0", 8000, "http://orthanc:8042/dicom-web")


def test_only_dicom_can_be_opened_to_other_machines():
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports == {
        "orthanc": ["${DICOM_ADDRESS:-127.0.0.1}:4242:4242"],
        "node": ["${DICOM_ADDRESS:-127.0.0.1}:11112:11112"],
        "label": [],
        "ohif": ["127.0.0.1:3000:3000", "127.0.0.1:8000:8000"],
    }
    nginx = (DEPLOY / "nginx.conf").read_text()
    assert set(re.findall(r"listen (\d+)", nginx)) == {"3000", "8000"}
    places = dict(re.findall(r"set (\$\w+) http://([\w:]+);", nginx))
    assert places == {"$label": "label:8000", "$orthanc": "orthanc:8042"}
    assert set(re.findall(r"proxy_pass (\S+);", nginx)) == places.keys()


@pytest.mark.parametrize(("server", "written"), [("127.0.0.11", "127.0.0.11"), ("fd00::1", "[fd00::1]")])
def test_nginx_asks_the_name_server_of_its_container(server, written, tmp_path):
    (tmp_path / "resolv.conf").write_text(f"search dns\nnameserver {server}\nnameserver 192.0.2.53\n")
    script = (DEPLOY / "start_nginx.sh").read_text()
    for there in ("/etc/resolv.conf", "/tmp/resolver.conf"):
        script = script.replace(there, str(tmp_path / Path(there).name))
    subprocess.run(["sh", "-c", script.replace("exec /usr/sbin/nginx", "exec true")], check=True)
    assert (tmp_path / "resolver.conf").read_text() == f"resolver {written} valid=10s;\n"
    assert "include /tmp/resolver.conf;" in (DEPLOY / "nginx.conf").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_the_compose_file_is_hardened_and_its_files_are_there(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    build = service["build"]
    context = (DEPLOY / build["context"]).resolve()
    assert context == ROOT
    file = context / build["dockerfile"]
    assert file in CONTAINERFILES
    assert "target" not in build or f"AS {build['target']}" in file.read_text()
    assert of(file, "HEALTHCHECK")
    assert set(build.get("args", {})) <= {text.split("=")[0] for text in of(file, "ARG")}
    assert set(service.get("depends_on", {})) <= SERVICES.keys()
    assert set(service["networks"]) <= COMPOSE["networks"].keys()
    volumes = [each.rsplit(":", 2 if each.endswith(":ro") else 1) for each in service.get("volumes", [])]
    named = {volume[0] for volume in volumes if "/" not in volume[0] and "$" not in volume[0]}
    assert named <= COMPOSE["volumes"].keys()


def test_what_the_node_writes_lies_where_volume_and_units_have_it():
    for service in ("node", "label"):
        unit = (DEPLOY / "systemd" / f"patch-clip-{service}.service").read_text()
        state = "/var/lib/" + re.search(r"StateDirectory=(\S+)", unit)[1]
        assert SETTINGS[service]["queue" if service == "node" else "work"] == state
        assert state in of(DEPLOY / "serving.containerfile", "RUN")[-2]
        assert any(each.endswith(f":{state}") for each in SERVICES[service]["volumes"])


def test_the_healthcheck_asks_what_the_monitor_answers(capsys):
    check = json.loads(of(DEPLOY / "serving.containerfile", "HEALTHCHECK")[0].partition("CMD ")[2])[-1]
    assert f"127.0.0.1:{SETTINGS['node']['monitor_port']}/" in check
    watch = Watch()
    server = start_monitor(port := free_port(), lambda: {}, watch)
    try:
        exec(check.replace(str(SETTINGS["node"]["monitor_port"]), str(port)))
        watch.fault = "a thread has ended"
        with pytest.raises(OSError, match="503"):
            exec(check.replace(str(SETTINGS["node"]["monitor_port"]), str(port)))
    finally:
        server.shutdown()
        server.server_close()


def test_orthanc_starts_with_its_settings(tmp_path):
    own = json.loads((DEPLOY / "orthanc.json").read_text())
    here = ("StorageDirectory", "IndexDirectory", "TemporaryDirectory", "HttpPort", "DicomPort", "RemoteAccessAllowed")
    with running_orthanc(tmp_path / "orthanc", **{key: own[key] for key in own if key not in here}) as server:
        assert answers(server.url("dicom-web/studies")) == []
        assert server.url("dicom-web").endswith(own["DicomWeb"]["Root"].strip("/"))


def test_the_units_are_right_and_exposed_little(tmp_path):
    systemd = path_of("systemd-analyze")
    folder = tmp_path / "systemd"
    for path in (DEPLOY / "systemd").rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(DEPLOY / "systemd")
            target.parent.mkdir(parents=True, exist_ok=True)
            # verify wants the programs to be there
            target.write_text(re.sub(r"/opt/patch_clip/\.venv(-label)?/bin/python", "/bin/true", path.read_text()))
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    for unit in sorted(folder.glob("*.service")):
        for command in (["verify", unit], ["security", "--offline=true", "--threshold=11", "--no-pager", unit]):
            told = subprocess.run([systemd, *command], env=environment, capture_output=True, text=True, timeout=60)
            assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("service", ["node", "label"])
def test_a_unit_starts_what_there_is(service):
    unit = (DEPLOY / "systemd" / f"patch-clip-{service}.service").read_text()
    words = shlex.split(re.search(r"ExecStart=(.*)", unit)[1])
    assert words[1] == "-m"
    assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
    settings, others = settings_of(service, [word.replace("/etc/patch_clip", str(DEPLOY)) for word in words[3:]])
    assert settings == SETTINGS[service]
    assert others == []
