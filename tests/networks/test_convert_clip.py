"""CLIP of OpenAI, CheXzero and open_clip, converted: the same embeddings, the same numbers, or refused by name."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPModel

from bundle.data.tokenizer import load_tokenizer
from bundle.networks import CLIPTowers
from bundle.networks.conversion.clip_folder import convert_open_clip, convert_openai
from bundle.networks.conversion.clip_names import pieces, to_transformers
from bundle.networks.conversion.clip_sizes import TowerSizes, sizes_of_openai
from bundle.networks.conversion.state_file import read_state
from tests.networks.original_clip import SIZES, image_embedding, original_state, text_embedding

CONFIG = {
    "embed_dim": 16,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 128, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def state():
    return original_state()


@pytest.fixture
def written(tmp_path):
    """Save a state dict as somebody else would."""

    def write(content, name="weights.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def embeddings(folder, pixels, ids):
    """What the network's own towers make of a folder."""
    towers = CLIPTowers(image_size=64, pretrained=str(folder)).eval()
    with torch.no_grad():
        return towers.vision(pixels).global_embedding, towers.text(ids, torch.ones_like(ids))


@pytest.fixture(scope="module")
def seen():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 49_000, (2, 77), generator=generator)
    ids[:, 0], ids[:, 9], ids[:, 10:] = 49406, 49407, 0
    return torch.randn(2, 3, 64, 64, generator=generator), ids


def test_openais_weights_give_the_same_embeddings(state, written, seen, tmp_path):
    convert_openai(written(state | {"input_resolution": torch.tensor(64)}), tmp_path / "clip")
    image, text = embeddings(tmp_path / "clip", *seen)
    assert torch.allclose(image, image_embedding(state, seen[0]), atol=1e-5)
    assert torch.allclose(text, text_embedding(state, seen[1]), atol=1e-5)
    config = CLIPModel.from_pretrained(tmp_path / "clip").config
    assert config.vision_config.hidden_act == config.text_config.hidden_act == "quick_gelu"
    assert len(load_tokenizer(tmp_path / "clip")) == 49_408
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip", "weights.pt"]


def test_open_clips_give_the_same_by_their_own_activation_and_heads(state, seen, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    save_file(state | {"logit_scale": state["logit_scale"][None]}, source / "open_clip_model.safetensors")
    convert_open_clip(source, tmp_path / "clip")
    image, text = embeddings(tmp_path / "clip", *seen)
    sizes = replace(SIZES, vision=TowerSizes(128, 2, 4, 512), text=TowerSizes(64, 1, 2, 256))
    assert torch.allclose(image, image_embedding(state, seen[0], sizes, F.gelu), atol=1e-5)
    assert torch.allclose(text, text_embedding(state, seen[1], sizes, F.gelu), atol=1e-5)
    assert not torch.allclose(image, image_embedding(state, seen[0]), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nothing_is_lost_on_the_way(state, dtype):
    state = {name: value.to(dtype) for name, value in state.items()}
    made = to_transformers(state, SIZES, "here")
    assert {value.dtype for value in made.values()} == {torch.float32}
    for piece in pieces(SIZES):
        back = torch.cat([made[name] for name in piece.made]) if len(piece.made) > 1 else made[piece.made[0]]
        assert torch.equal((back.T if piece.transposed else back).to(dtype), state[piece.name]), piece.name
    assert len(made) == sum(len(piece.made) for piece in pieces(SIZES))


@pytest.mark.parametrize(
    ("width", "patch", "text_width", "dim", "said"),
    [(768, 32, 512, 512, "7x7"), (768, 16, 512, 512, "14x14"), (1024, 14, 768, 768, "16x16")],
)
def test_the_published_sizes_are_read_from_the_weights(width, patch, text_width, dim, said):
    vision = TowerSizes(width, {768: 12, 1024: 24}[width], width // 64, 4 * width)
    text = TowerSizes(text_width, 12, text_width // 64, 4 * text_width)
    sizes = replace(SIZES, vision=vision, text=text, embedding_dim=dim, patch_size=patch, image_size=224)
    state = {piece.name: torch.empty(piece.shape, device="meta") for piece in pieces(sizes)}
    assert sizes_of_openai(state, "here") == sizes
    assert f"{224 // patch}x{224 // patch}" == said
    last = f"resblocks.{vision.depth - 1}."
    with pytest.raises(ValueError, match=rf"has {vision.depth} blocks; the file has {vision.depth - 1}"):
        sizes_of_openai({n: v for n, v in state.items() if last not in n or not n.startswith("visual")}, "here")


@pytest.mark.parametrize("holder", ["state_dict", "model_state_dict"])
def test_a_trainings_checkpoint_is_unpacked_with_a_word(written, caplog, holder):
    path = written({"epoch": 3, holder: {"module.logit_scale": torch.ones(())}})
    with caplog.at_level(logging.INFO, "bundle"):
        assert list(read_state(path)) == ["logit_scale"]
    assert f"of ['epoch', '{holder}'], '{holder}' is read" in caplog.text


def without(*names):
    return lambda state: {name: value for name, value in state.items() if not any(n in name for n in names)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("resblocks.0.mlp.c_fc.bias"), r"missing: visual\.transformer\.resblocks\.0\.mlp\.c_fc\.bias, transf"),
        (
            without("visual.transformer.resblocks.0."),
            r"missing: visual\.transformer\.resblocks\.0\.ln_1\.weight.*c_proj\.bias\.",
        ),
        (lambda s: s | {"a.b": torch.ones(1)}, r"unexpected: a\.b"),
        (lambda s: s | {"ln_final.bias": torch.ones(3)}, r"another shape: ln_final\.bias \(3,\), wanted \(64,\)"),
        (lambda s: {f"module.{n}" if "ln" in n else n: v for n, v in s.items()}, r"unexpected: module\.ln_final"),
        (without("visual.conv1"), r"no CLIP by OpenAI's names: it lacks visual\.conv1\.weight \(4 axes\)"),
        (lambda s: s | {"visual.layer1.0.conv1.weight": torch.ones(1)}, "CLIP with a ResNet"),
        (lambda s: s | {"visual.positional_embedding": torch.ones(8, 128)}, "7 patches, which make no square"),
        (lambda s: s | {"token_embedding.weight": torch.ones(9, 64)}, "9 entries, CLIP's has 49408"),
        (lambda s: s | {"token_embedding.weight": torch.ones(9, 60)}, "heads of width 64, which does not"),
    ],
)
def test_what_is_no_such_clip_is_refused_by_name(state, change, said):
    state = change(state)
    with pytest.raises(ValueError, match=said):
        to_transformers(state, sizes_of_openai(state, "here"), "here")


def test_files_of_other_content_are_refused_and_leave_nothing(written, tmp_path):
    for content, said in (
        ({"logit_scale": torch.tensor(torch.nan)}, "not numbers, in logit_scale"),
        ({"logit_scale": torch.tensor(1.0).double()}, r"without loss: logit_scale \(torch\.float64\)"),
        ({"epoch": 3}, "holds no weights by name: epoch is no tensor"),
        ({"logit_scale": torch.tensor(1.0)}, r"lacks visual\.conv1\.weight \(4 axes\)"),
    ):
        path = written(content)
        with pytest.raises(ValueError, match=said):
            convert_openai(path, tmp_path / "clip")
        assert [p.name for p in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vision_cfg": {"timm_model_name": "vit_base"}}, r"vision_cfg\.timm_model_name 'vit_base'"),
        (
            {"text_cfg": {"hf_model_name": "bert", "pool_type": "last"}},
            r"hf_model_name 'bert', text_cfg\.pool_type 'la",
        ),
        ({"init_logit_bias": -10}, "init_logit_bias -10"),
        ({"embed_dim": None}, "does not say, as a whole number: embed_dim"),
        ({"text_cfg": {"heads": 7}}, "with 7 heads"),
        ({"vision_cfg": {"head_width": 48}}, "heads of width 48 do not divide"),
    ],
)
def test_other_models_of_open_clip_are_refused_by_what_makes_them_so(tmp_path, change, said):
    config = {k: {**CONFIG.get(k, {}), **v} if isinstance(v, dict) else v for k, v in (CONFIG | change).items()}
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=said):
        convert_open_clip(tmp_path / "weights.pt", tmp_path / "clip", tmp_path / "model.json")


def test_a_file_of_open_clips_needs_its_configuration(tmp_path):
    with pytest.raises(ValueError, match="say with --config which JSON"):
        convert_open_clip(tmp_path / "weights.pt", tmp_path / "clip")
    with pytest.raises(FileNotFoundError, match="No weights of open_clip"):
        convert_open_clip(tmp_path, tmp_path / "clip")
    with pytest.raises(FileNotFoundError, match="No configuration of open_clip"):
        convert_open_clip(tmp_path / "weights.pt", tmp_path / "clip", tmp_path / "none.json")
    (tmp_path / "model.json").write_text("[")
    with pytest.raises(ValueError, match="is no JSON"):
        convert_open_clip(tmp_path / "weights.pt", tmp_path / "clip", tmp_path / "model.json")


def test_programs_and_damaged_files_are_not_read(written, tmp_path):
    program = tmp_path / "ViT-B-32.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(program)
    with pytest.raises(ValueError, match=r"TorchScript archive.*hf download openai/clip-vit-base-patch32"):
        convert_openai(program, tmp_path / "clip")
    with pytest.raises(ValueError, match="more than tensors"):
        convert_openai(written({"logit_scale": print}), tmp_path / "clip")
    (tmp_path / "a.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="no safetensors file"):
        convert_openai(tmp_path / "a.safetensors", tmp_path / "clip")
    with pytest.raises(FileNotFoundError, match="No file of weights"):
        convert_openai(tmp_path / "none.pt", tmp_path / "clip")


def test_the_command_makes_a_folder_and_leaves_one_that_is_there_alone(state, written, tmp_path):
    root = Path(__file__).resolve().parents[2]
    path, folder = written({f"module.{name}": value for name, value in state.items()}), tmp_path / "clip"
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.convert_checkpoint", "openai", path, folder]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "CLIP of 2 vision blocks of width 128, 64 px in patches of 16" in done.stderr
    assert "'module.' is taken off" in done.stderr
    assert CLIPTowers(image_size=64, pretrained=str(folder)).embedding_dim == 16
    with pytest.raises(FileExistsError, match="is there already"):
        convert_openai(path, folder)
