"""A package holds the code that its configs need, and replaces the package before it, and nothing of the repository."""

import json

import pytest
import torch

from bundle.export import package
from bundle.export.archive import zip_bundle
from bundle.export.package import COPIED, WEIGHTS, package_bundle, packaged_files

INFERENCE = {"_desc_": "not bundle.unused", "network_def": {"_target_": "bundle.old.module.Network"}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with a training's config and weights in it."""
    root = tmp_path / "repository"
    files = dict.fromkeys((*COPIED, "configs/inference.json", "bundle/grid.py", "bundle/unused.py"), "")
    files |= {"bundle/__init__.py": "", "bundle/old/__init__.py": "", "bundle/old/module.py": "import bundle.grid"}
    files["configs/train.json"] = json.dumps({"ckpt_path": "$@bundle_root + '/training/model.pt'"})
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "training").mkdir()
    torch.save({"w": torch.ones(1), "clip.text.w": torch.ones(1)}, root / "training" / "model.pt")
    monkeypatch.setattr(package, "packaged_configs", lambda parser, root: {"inference.json": dict(INFERENCE)})
    return root


def written(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def make(root, output):
    return package_bundle([root / "configs" / "train.json"], root, output, str(root))


@pytest.mark.parametrize(
    "output", [".", "bundle", "bundle/out", "configs/x", "docs", "scripts", "tests/a/b", "docs/../."]
)
def test_a_package_over_the_repository_is_refused_before_anything_is_written(root, output):
    before = written(root)
    with pytest.raises(ValueError, match=f"would be written to {(root / output).resolve()}, over .* {root}\\. Give"):
        make(root, root / output)
    assert written(root) == before


def test_a_package_beside_a_repository_named_bundle_is_refused(root):
    moved = root.rename(root.parent / "bundle")
    before = written(moved)
    with pytest.raises(ValueError, match="over files of the repository"):
        make(moved, moved.parent)
    assert written(moved) == before


def test_a_folder_that_no_package_wrote_is_not_replaced(root, tmp_path):
    (tmp_path / "work" / "bundle").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"{tmp_path}/work/bundle would be replaced, and no package wrote it"):
        make(root, tmp_path / "work")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["bundle"]


def test_a_package_over_the_trainings_weights_is_refused(root):
    (root / "configs" / "train.json").write_text(json.dumps({"ckpt_path": "$@bundle_root + '/run/models/model.pt'"}))
    (root / "run").mkdir()
    (root / "training").rename(root / "run" / "models")
    before = written(root)
    with pytest.raises(ValueError, match=r"would replace the training's, .*run/models/model\.pt\. Give"):
        make(root, root / "run")
    assert written(root) == before


def test_a_second_package_holds_nothing_of_the_first(root, monkeypatch):
    output = make(root, root / "models" / "package")
    code = [path.relative_to(output).as_posix() for path in packaged_files(output)]
    first = ["__init__.py", "grid.py", "old/__init__.py", "old/module.py"]
    assert [name for name in code if name.startswith("bundle/")] == [f"bundle/{name}" for name in first]
    (root / "bundle" / "new.py").write_text("")
    monkeypatch.setitem(INFERENCE, "network_def", ["$bundle.new.network(bundle.grid.patches)"])
    assert make(root, output) == output
    zip_bundle(output, root / "package.zip")
    code = [path.relative_to(output).as_posix() for path in packaged_files(output)]
    assert [name for name in code if name.startswith("bundle/")] == [
        *("bundle/__init__.py", "bundle/grid.py", "bundle/new.py")
    ]
    assert sorted(path.name for path in output.iterdir()) == ["LICENSE", "bundle", "configs", "docs", "models"]
    assert torch.load(output / WEIGHTS, weights_only=True).keys() == {"w"}


def test_a_package_is_not_complete_until_it_is_written_again(root, monkeypatch):
    output = make(root, root / "models" / "package")

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(package.shutil, "copyfile", killed)
    with pytest.raises(KeyboardInterrupt):
        make(root, output)
    assert not (output / WEIGHTS).exists()


def test_a_config_that_names_what_is_not_there_is_refused_before_anything_is_written(root, monkeypatch):
    monkeypatch.setitem(INFERENCE, "network_def", {"_target_": "bundle.gone.Network"})
    with pytest.raises(FileNotFoundError, match=f"There is no module bundle.gone.Network in {root}"):
        make(root, root / "models" / "package")
    assert not (root / "models").exists()
