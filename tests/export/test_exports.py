"""Exports agree with the network, for any batch size, carry what it takes to use them, and hold no text tower."""

import json
from pathlib import Path

import onnx
import pytest
import torch

from bundle.export import onnx_file
from bundle.export.agreement import DisagreementError, largest_differences
from bundle.export.export import export_package
from bundle.export.exportable import SCORE_NAMES, Exportable, FixedSizeSelection
from bundle.export.onnx_file import export_onnx, run_onnx
from bundle.export.torchscript_file import export_torchscript, run_torchscript, torchscript_facts
from bundle.fingerprint import file_sha256
from bundle.networks import RegionCLIP
from bundle.networks.selection import PatchSelection
from tests.tiny_network import tiny_patch_clip

CANVAS = 132


@pytest.fixture(params=["patch", "capped", "region", "local"])
def network(request):
    """Prompts far enough apart for patches above and below the selection's threshold."""
    arguments = {
        "patch": {},
        "capped": {"sparse": {"selection": {"max_patches": 3}}},
        "region": {"network": RegionCLIP, "processor": {"num_heads": 2}, "fuse": True},
        "local": {"local_normalisation": {"cell": 7}},
    }[request.param]
    net = tiny_patch_clip(None, text=False, **arguments).eval()
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(net.prompt_embeddings.shape, generator=generator)
    net.prompt_embeddings.copy_(torch.nn.functional.normalize(embeddings, dim=-1))
    return net


@pytest.mark.parametrize("max_patches", [None, 1, 3])
def test_fixed_size_selection_selects_the_same_patches(max_patches):
    selection = PatchSelection(4, threshold=0.6, max_patches=max_patches).eval()
    probability = torch.rand(5, 4, 9, generator=torch.Generator().manual_seed(0))
    probability[0] = 0.1  # nothing to select
    one, other = selection(probability, None), FixedSizeSelection(selection)(probability)
    assert other.patch.shape[-1] == (max_patches or 9)
    for b in range(5):
        for k in range(4):
            chosen = [set(s.patch[b, k][s.valid[b, k]].tolist()) for s in (one, other)]
            assert chosen[0] == chosen[1]


def test_exportable_gives_what_the_network_gives(network):
    image = torch.rand(3, 1, CANVAS, CANVAS, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        full = network(image, full=True)
        pred, score, scores = Exportable(network)(image)
    torch.testing.assert_close(pred, full["pred"], atol=0, rtol=0)
    torch.testing.assert_close(score, full["scores"]["image"], atol=1e-6, rtol=0)
    for name, each in zip(SCORE_NAMES, scores.unbind(1), strict=True):
        torch.testing.assert_close(each, full["scores"][name], atol=1e-6, rtol=0, equal_nan=True)
    assert full["sparse_valid"].any()


@pytest.mark.parametrize(("export", "run"), [(export_onnx, run_onnx), (export_torchscript, run_torchscript)])
def test_exports_agree_for_any_batch(network, export, run, tmp_path):
    path = tmp_path / "deep" / "model"
    exportable = Exportable(network)
    differences = export(exportable, CANVAS, {"notice": "for tests"}, path)
    assert set(differences) == {"pred", "image_score", "scores"}
    assert max(differences.values()) < 1e-5
    assert [p.name for p in path.parent.iterdir()] == ["model"]
    again = largest_differences(exportable, run(path), CANVAS, batches=(2, 5), seed=7)
    assert max(again.values()) < 1e-5
    padded = torch.rand(3, 1, CANVAS, CANVAS)
    padded[1, ..., :30] = padded[1, ..., 110:] = padded[2, :, :25] = 0
    with torch.inference_mode():
        for one, other in zip(run(path)(padded), exportable(padded), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0, equal_nan=True)


def test_large_weights_lie_beside_the_onnx_file_which_never_meets_those_of_another(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    exportable = Exportable(tiny_patch_clip(None, text=False).eval())
    monkeypatch.setattr(onnx_file, "LARGEST_IN_ONE_FILE", 0)
    export_onnx(exportable, CANVAS, {}, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    largest_differences(exportable, run_onnx(path), CANVAS)
    replace = Path.replace

    def killed(self, target):
        if target == path:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            export_onnx(exportable, CANVAS, {}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx.data"]  # which nothing reads
    export_onnx(exportable, CANVAS, {}, path)
    monkeypatch.setattr(onnx_file, "LARGEST_IN_ONE_FILE", 10**9)
    export_onnx(exportable, CANVAS, {}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    largest_differences(exportable, run_onnx(path), CANVAS)


def test_an_export_that_differs_is_refused(network):
    exportable = Exportable(network)

    def shifted(image):
        with torch.inference_mode():
            pred, *scores = exportable(image)
        return pred + 2e-4, *scores

    with pytest.raises(DisagreementError, match=r"pred of a batch of 1 differs by 2\.0e-04"):
        largest_differences(exportable, shifted, CANVAS)
    with pytest.raises(DisagreementError, match=r"gives \(1, 3, 4\)"):
        largest_differences(
            exportable, lambda image: [torch.zeros(1, 3, 4), torch.zeros(1, 3), torch.zeros(1, 5, 3)], CANVAS
        )


def test_a_text_tower_or_another_network_is_refused(tokenizer):
    with pytest.raises(ValueError, match="text: null"):
        Exportable(tiny_patch_clip(tokenizer).eval())
    with pytest.raises(TypeError, match="Linear cannot be exported"):
        Exportable(torch.nn.Linear(2, 2))


@pytest.fixture
def package(tmp_path):
    """As `package_bundle` leaves it, of a tiny network."""
    folder = tmp_path / "package"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    net = tiny_patch_clip(None, text=False)
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    configs = {
        "inference": {
            "bundle_root": ".",
            "ckpt_path": "$@bundle_root + '/models/model.pt'",
            "findings": net.findings,
            "image_size": CANVAS,
            "notice": "not for clinical use",
            "candidates": {"_desc_": "why", "floor": 0.1},
            "points": {"Mass": {"slope": 0.5, "offset": -1.0, "image": 0.2, "box": 0.7}},
            "min_score": 0.4,
            "network_def": {
                "_target_": "bundle.networks.PatchCLIP",
                "findings": "@findings",
                "downscaler": {
                    "_target_": "bundle.networks.Downscaler",
                    "in_size": 132,
                    "out_size": 32,
                    "hidden_channels": 4,
                },
                "clip": {
                    "_target_": "bundle.networks.CLIPTowers",
                    "image_size": 32,
                    "vision": {**vision, "patch_size": 8},
                    "text": None,
                    "projection_dim": 12,
                    "stem": {"channels": [4, 8, 8], "depth": 1},
                },
                "sparse": {"num_layers": 1, "num_heads": 2, "feedforward": 16},
            },
        },
        "metadata": {"name": "Tiny", "version": "0.2.0", "intended_use": "tests"},
        "train": {"prompts": {"positive": ["{finding}"], "negative": ["no {finding}"]}},
    }
    for name, content in configs.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_package_is_exported_with_what_it_takes_to_use_it(package, tmp_path):
    written = export_package(package, tmp_path / "out")
    assert [path.name for path in written] == ["model.onnx", "model.ts"]
    model = onnx.load(tmp_path / "out" / "model.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["name"] == "Tiny"
    assert facts["version"] == "0.2.0"
    assert facts["notice"] == "not for clinical use"
    assert json.loads(facts["findings"]) == ["Effusion", "Mass", "Nodule"]
    assert json.loads(facts["prompts"])["Mass"] == [["no mass"], ["mass"]]
    assert json.loads(facts["candidates"]) == {"floor": 0.1}
    points = json.loads(facts["operating_points"])
    assert points["Mass"] == {"slope": 0.5, "offset": -1.0, "image": 0.2, "box": 0.4}
    assert points["Nodule"] == {"slope": 1.0, "offset": 0.0, "image": 0.5, "box": 0.4}
    assert json.loads(facts["outputs"]) == {
        "pred": ["batch", 3, 4, 4],
        "image_score": ["batch", 3],
        "scores": ["batch", 5, 3],
    }
    assert json.loads(facts["scores"]) == ["global", "pooled", "sparse", "patch", "image"]
    assert facts["calibrated"] == "false"
    assert facts["canvas"] == "132"
    assert facts["weights_sha256"] == file_sha256(package / "models" / "model.pt")
    assert torchscript_facts(tmp_path / "out" / "model.ts", list(facts)) == facts
    # nothing of a text tower, in either
    names = [tensor.name for tensor in model.graph.initializer]
    names += [name for name, _ in torch.jit.load(tmp_path / "out" / "model.ts").named_parameters()]
    assert len(names) > 20
    assert [name for name in names if "text" in name or "token_embedding" in name] == []
    dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert dimension.dim_param == "batch"


def test_what_is_missing_is_named(package, tmp_path):
    with pytest.raises(ValueError, match=r"\['tflite'\]; give one of \['onnx', 'torchscript', 'both'\]"):
        export_package(package, tmp_path, ["tflite"])
    (package / "models" / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match="No weights at"):
        export_package(package, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No configs/inference\.json in .*scripts.package_bundle"):
        export_package(tmp_path, tmp_path)
