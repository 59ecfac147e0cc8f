"""What a start makes, and what it leaves to a server that runs already."""

import os

import pytest

import bundle
from bundle.label import serve
from bundle.label.serve import make_application
from bundle.label.work import work_folder


def test_what_a_stopped_training_left_is_removed_and_its_weights_stay(tmp_path):
    model = tmp_path / "model"
    (model / "models").mkdir(parents=True)
    (model / "models" / "model.pt").write_bytes(b"first")
    weights = make_application(model, tmp_path / "work") / "model" / "patch_clip" / "models"
    (weights / "model.pt").unlink()
    (weights / "model.pt").write_bytes(b"trained")
    (weights / ".0123456789ab.model.pt").write_bytes(b"half")
    make_application(model, tmp_path / "work")
    assert [path.name for path in weights.iterdir()] == ["model.pt"]
    assert (weights / "model.pt").read_bytes() == b"trained"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts in `work`, over a package of nothing; in place of serving, the server does what it is given to do."""
    (tmp_path / "model" / "bundle").mkdir(parents=True)
    (tmp_path / "model" / "bundle" / "__init__.py").write_text(f'__version__ = "{bundle.__version__}"\n')
    for file in ("configs/inference.json", "configs/metadata.json", "models/model.pt"):
        (tmp_path / "model" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / file).write_text("{}")
    (tmp_path / "studies").mkdir()
    places = {"--studies": "studies", "--model": "model", "--work": "work"}
    arguments = [part for key, name in places.items() for part in (key, str(tmp_path / name))]

    def start(port, meanwhile):
        monkeypatch.setattr(serve, "run", lambda *_: meanwhile())
        serve.main([*arguments, "--port", str(port)])

    return start


def test_a_second_server_leaves_the_folder_to_the_first_and_says_who_has_it(start, tmp_path):
    upload = tmp_path / "work" / "uploads" / "half.dcm"

    def second():
        upload.parent.mkdir()
        upload.write_bytes(b"on its way")
        with pytest.raises(SystemExit) as refused:
            start(8001, meanwhile=lambda: upload.unlink())  # as every start empties this folder
        assert f"work is in use by a server (process {os.getpid()}, 127.0.0.1:8000)" in refused.value.code
        assert "with --work" in refused.value.code
        assert upload.read_bytes() == b"on its way"

    start(8000, meanwhile=second)
    start(8002, meanwhile=lambda: None)  # the folder is free again


def test_a_server_that_was_killed_keeps_no_folder(tmp_path):
    if (child := os.fork()) == 0:
        work_folder(tmp_path / "work", "here").__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    with work_folder(tmp_path / "work", "here"):
        assert f"process {os.getpid()}" in (tmp_path / "work" / "lock").read_text()


def test_what_is_written_and_what_an_older_server_left_is_for_its_owner_alone(start, tmp_path):
    work, theirs = tmp_path / "work", tmp_path / "theirs.dcm"
    theirs.write_bytes(b"")
    theirs.chmod(0o644)
    (work / "studies" / "labels").mkdir(parents=True)
    (work / "studies" / "labels" / "a.png").write_bytes(b"")
    (work / "studies" / "a.dcm").symlink_to(theirs)
    start(8000, meanwhile=lambda: make_application(tmp_path / "model", work))
    assert not open_to_others(work)
    assert theirs.stat().st_mode & 0o777 == 0o644


def open_to_others(work):
    there = [path for path in work.rglob("*") if not path.is_symlink()]
    assert there
    return [path for path in there if path.stat().st_mode & 0o077]
