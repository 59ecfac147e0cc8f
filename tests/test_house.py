"""The rules of the house: what imports what, what a config names, what metadata.json promises."""

import ast
import json
import re
from pathlib import Path

import jsonschema
import pytest
import torch
from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator
from monai.bundle.scripts import verify_net_in_out
from monai.utils import instantiate

from tests.lean import stated

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.json"))


def targets(value):
    if isinstance(value, dict):
        if "_target_" in value:
            yield value["_target_"]
        for item in value.values():
            yield from targets(item)
    elif isinstance(value, list):
        for item in value:
            yield from targets(item)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_target_exists(path):
    locator = ComponentLocator()  # a bare name is MONAI's
    for target in set(targets(json.loads(path.read_text()))):
        module = None if "." in target else locator.get_component_module_name(target)
        assert instantiate(f"{module}.{target}" if module else target, "callable") is not None, target


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_is_run_by_a_test(path):
    tests = "".join(p.read_text() for p in (ROOT / "tests").rglob("*.py")) + (ROOT / "scripts" / "demo.sh").read_text()
    assert re.search(rf"\b{path.stem}\b", tests)


def test_bundle_imports_nothing_from_scripts():
    for path in (ROOT / "bundle").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] in ("scripts", "tests") for n in names), path


def test_metadata_is_valid():
    metadata = json.loads((ROOT / "configs" / "metadata.json").read_text())
    schema = json.loads((ROOT / "bundle" / "export" / "meta_schema.json").read_text())
    jsonschema.validate(metadata, schema)
    assert metadata["version"] in metadata["changelog"]
    pinned = {requirement.name: str(requirement.specifier)[2:] for requirement in stated("requirements.txt")}
    assert metadata["monai_version"] == pinned["monai"]
    assert metadata["pytorch_version"] == pinned["torch"]
    assert metadata["numpy_version"] == pinned["numpy"]
    for package, version in metadata["required_packages_version"].items():
        assert pinned[package] == version, package
    assert list(metadata["network_data_format"]["outputs"]) == ["pred"]
    assert list(metadata["network_data_format"]["inputs"]) == ["image"]


@pytest.mark.slow
def test_network_agrees_with_metadata():
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(ROOT / "configs" / "metadata.json"),
        config_file=str(ROOT / "configs" / "inference.json"),
        device="cpu",
        **{"clip::vision::num_hidden_layers": 2},  # two of the 24 layers: the same shapes
    )


def test_the_papers_setting_is_the_default():
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "train.json"))
    assert (parser["image_size"], parser["tower_size"], parser["hidden_channels"]) == (900, 224, 64)
    assert (parser["max_epochs"], parser["batch_size"]) == (10, 64)
    assert parser["optimizer"]["_target_"] == "torch.optim.SGD"
    assert (parser["learning_rate"], parser["learning_rates"]["downscaler.*"]) == (1e-5, 1e-2)
    weights = [parser["loss"][f"{n}_weight"] for n in ("global", "pooled", "patch", "sparse")]
    assert weights == [1, 1, 1, 0.5]


def test_a_missing_clip_folder_is_an_error_that_says_where_to_get_it(tmp_path):
    parser = ConfigParser()
    parser.read_config(str(ROOT / "configs" / "train.json"))
    parser["bundle_root"] = str(tmp_path)
    parser["tokenizer_folder"] = None
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("network_def")
    assert "clip-vit-large-patch14" in str(caught.value.__cause__)
    assert torch.__version__.startswith("2.13")
