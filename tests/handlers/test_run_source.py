"""What a run was made from."""

import subprocess
from pathlib import Path

from bundle.handlers.run_source import commit_tags, data_of
from bundle.made_for import made_for


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_checkout_itself(tmp_path: Path) -> None:
    assert commit_tags(tmp_path) == {}
    git(tmp_path, "init", "-q")
    assert commit_tags(tmp_path) == {}  # nothing is committed
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert commit_tags(tmp_path) == {"mlflow.source.git.commit": commit, "source.changed": "false"}
    (tmp_path / "file").write_text("b")
    assert commit_tags(tmp_path)["source.changed"] == "true"
    (tmp_path / "inner").mkdir()
    assert commit_tags(tmp_path / "inner") == {}


def test_data_are_known_by_fingerprint_and_sections(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text("{}")
    made = made_for(tmp_path / "datalist.json", ["a", "b"], ["Mass"])
    (data,) = data_of({"learnt_from": made, "judged_on": dict(made), "other": {"datalist": "/a"}, "number": 3})
    assert data == {"name": "a, b", "digest": made["datalist"], "profile": {"findings": ["Mass"]}}
    assert str(tmp_path) not in str(data)
