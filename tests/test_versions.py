"""A package of another version of the code is refused by whatever would run it by this one."""

import json
import shutil
from pathlib import Path

import pytest

import bundle
from bundle.frozen_plan import operating_points
from bundle.guard import OtherCodeError
from bundle.label import serve
from bundle.node.analyser import Analyser
from bundle.versions import OtherVersionError, refuse_other_version
from scripts import dicom_node
from tests.test_guard import CONFIG, outcome

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def package(tmp_path):
    """As much of a package as is looked at, with this code's version."""
    folder = tmp_path / "package"
    for name in ("configs/inference.json", "configs/metadata.json", "models/model.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    (folder / "configs" / "train.json").write_text(json.dumps(CONFIG))
    (folder / "bundle").mkdir()
    for name in ("__init__.py", "grid.py"):
        shutil.copyfile(ROOT / "bundle" / name, folder / "bundle" / name)
    return folder


@pytest.fixture
def old(package):
    init = package / "bundle" / "__init__.py"
    init.write_text(init.read_text().replace(f'__version__ = "{bundle.__version__}"', '__version__ = "0.0.7"'))
    return package


def test_the_code_says_the_version_that_the_metadata_says():
    assert bundle.__version__ == json.loads((ROOT / "configs" / "metadata.json").read_text())["version"]


def test_a_package_of_this_code_passes_and_of_another_version_both_are_named(package, caplog):
    refuse_other_version(package)
    refuse_other_version(ROOT)
    assert not caplog.records
    init = package / "bundle" / "__init__.py"
    init.write_text('raise SystemError\n__version__ = "0.0.7"\n')  # read, not run
    with pytest.raises(OtherVersionError) as refused:
        refuse_other_version(package)
    for text in (f"{package} was made by version 0.0.7", f"is version {bundle.__version__} ({ROOT}/bundle)"):
        assert text in str(refused.value)
    assert "`python -m scripts.package_bundle`" in str(refused.value)
    for path in (init, package / "bundle" / "grid.py"):  # without a version, without code
        path.unlink()
        with pytest.raises(OtherVersionError, match="was made by code without a version"):
            refuse_other_version(package)


def test_other_code_of_the_same_version_is_a_warning_once(package, caplog):
    (package / "bundle" / "grid.py").write_text("")
    (package / "bundle" / "gone.py").write_text("")
    for _ in range(2):
        refuse_other_version(package)
    (said,) = caplog.messages
    assert f"of the same version {bundle.__version__}: gone.py, grid.py. Package its training again" in said


def test_a_workflow_of_a_package_is_not_run_by_another_version(old, monkeypatch):
    with pytest.raises(OtherCodeError, match=r"made by version 0\.0\.7 .* process of its own, in the package's folder"):
        outcome(old / "configs")
    monkeypatch.setattr(bundle, "__version__", "0.0.7")
    assert outcome(old / "configs")["trainer"]["max_epochs"] == 2


def test_the_second_package_in_a_process_is_not_looked_at_by_the_firsts_code(old):
    """MONAI Label's own application has several, and reads no run list; each asks for its operating points."""
    with pytest.raises(OtherVersionError, match=r"version 0\.0\.7"):
        operating_points(["Mass"], None, None, old / "models" / "model.pt")


def test_the_node_does_not_start(old, tmp_path):
    with pytest.raises(OtherVersionError, match=r"version 0\.0\.7"):
        Analyser(old)
    with pytest.raises(SystemExit, match=r"package was made by version 0\.0\.7 .*and what runs here is version"):
        dicom_node.main(str(old), queue=str(tmp_path / "queue"))


def test_the_label_server_does_not_start(old, tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    monkeypatch.setattr(serve, "run", lambda *_: pytest.fail("it was started"))
    places = ["--studies", str(tmp_path / "studies"), "--model", str(old), "--work", str(tmp_path / "work")]
    with pytest.raises(SystemExit, match=r"--model: .*package was made by version 0\.0\.7"):
        serve.main(places)
    assert not (tmp_path / "work").exists()
