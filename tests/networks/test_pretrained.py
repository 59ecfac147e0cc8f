"""Folders of weights: taken as float32 and whole, or refused by what is wrong with them."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from bundle.networks import CLIPTowers, TextEncoder
from bundle.networks.pretrained import load_pretrained, model_type

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tiny CLIP as save_pretrained leaves it."""
    folder = tmp_path_factory.mktemp("clip")
    config = CLIPConfig(
        vision_config=CLIPVisionConfig(**SIZES, image_size=32, patch_size=8).to_dict(),
        text_config=CLIPTextConfig(**SIZES, vocab_size=99, eos_token_id=98).to_dict(),
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "clip")


def weights(folder):
    return load_file(folder / "model.safetensors")


def rewrite(folder, content, as_bin=False):
    content = {name: value.clone() for name, value in content.items()}
    if as_bin:
        (folder / "model.safetensors").unlink()
        torch.save(content, folder / "pytorch_model.bin")
    else:
        save_file(content, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("as_bin", [False, True])
def test_any_precision_becomes_float32(folder, dtype, as_bin):
    before = weights(folder)
    rewrite(folder, {name: value.to(dtype) for name, value in before.items()}, as_bin)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": str(dtype).removeprefix("torch.")}))
    towers = CLIPTowers(image_size=32, pretrained=str(folder))
    assert {p.dtype for p in towers.parameters()} == {torch.float32}
    name = "visual_projection.weight"
    assert torch.equal(towers.vision.projection.weight, before[name].to(dtype).float())


def without(part):
    return lambda content: {name: value for name, value in content.items() if part not in name}


def another_layer(content):
    return content | {name.replace("layers.0", "layers.1"): v for name, v in content.items() if "layers.0" in name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: {f"module.{name}": v for name, v in c.items()}, r"lack: logit_scale.*have too much: module\.logit_"),
        (without("layers.0.mlp"), r"lack: text_model\.encoder\.layers\.0\.mlp\.fc1\.bias.*\(of 8\)"),
        (without("vision_model."), r"lack: vision_model\."),
        (another_layer, r"have too much: text_model\.encoder\.layers\.1\.layer_norm1\.bias"),
        (
            lambda c: c | {"visual_projection.weight": torch.zeros(8, 16)},
            r"have other shapes: visual_projection\.weight \(8, 16\), wanted \(12, 16\)",
        ),
        (lambda c: c | {"logit_scale": torch.tensor(torch.nan)}, r"not all numbers: NaN or infinity in logit_scale"),
    ],
)
def test_weights_that_do_not_make_a_whole_clip_are_refused_by_name(folder, change, said, capfd):
    rewrite(folder, change(weights(folder)))
    with pytest.raises(ValueError, match=rf"weights at '{folder}'.*{said}"):
        CLIPTowers(image_size=32, pretrained=str(folder))
    assert "REPORT" not in capfd.readouterr().err  # the library's table would say the same again


@pytest.mark.parametrize(("kind", "said"), [("bert", "'bert'"), ("siglip2", "'siglip2'"), (None, "''")])
def test_another_model_is_refused_as_such(folder, kind, said):
    config = json.loads((folder / "config.json").read_text()) | {"model_type": kind}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"holds a {said} \(model_type in config\.json\); wanted a 'clip'"):
        CLIPTowers(image_size=32, pretrained=str(folder))


def test_a_text_part_may_be_missing_where_it_is_not_used(folder):
    rewrite(folder, without("text_")(weights(folder)))
    assert CLIPTowers(image_size=32, pretrained=str(folder), with_text=False).text is None
    with pytest.raises(ValueError, match=r"lack: text_model\."):
        CLIPTowers(image_size=32, pretrained=str(folder))


def test_damaged_files_and_code_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot be read .*copy them again"):
        load_pretrained(CLIPModel, folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no weights"):
        load_pretrained(CLIPModel, folder)
    torch.save({"logit_scale": print}, folder / "pytorch_model.bin")  # what a pickle may name, it may call
    with pytest.raises(ValueError, match="hold more than tensors"):
        load_pretrained(CLIPModel, folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is no configuration"):
        model_type(folder)


def test_the_heads_of_pretraining_are_left_and_a_layer_is_not(tmp_path):
    BertForMaskedLM(BertConfig(vocab_size=30, max_position_embeddings=9, **SIZES)).save_pretrained(tmp_path)
    TextEncoder(tmp_path, 4, context_length=9)
    rewrite(
        tmp_path, {name.replace("layer.0", "layer.1"): v for name, v in weights(tmp_path).items()} | weights(tmp_path)
    )
    with pytest.raises(ValueError, match=r"have too much: .*encoder\.layer\.1"):
        TextEncoder(tmp_path, 4, context_length=9)


def test_sizes_belong_to_random_weights_and_to_nothing_else(whole):
    for arguments in ({}, {"pretrained": str(whole), "vision": SIZES}, {"pretrained": str(whole), "text": SIZES}):
        with pytest.raises(ValueError, match="Give either `pretrained`"):
            CLIPTowers(image_size=32, **arguments)


def test_what_is_random_is_known_until_weights_are_loaded(whole):
    towers = CLIPTowers(32, vision={**SIZES, "patch_size": 8}, text=SIZES)
    assert towers.random == ["vision", "text"]
    assert CLIPTowers(32, vision={**SIZES, "patch_size": 8}).random == ["vision"]
    assert CLIPTowers(32, pretrained=str(whole)).random == []
    towers.load_state_dict(towers.state_dict())
    assert towers.random == []


def test_another_size_interpolates_the_positions_with_a_line_in_the_log(whole, caplog):
    with caplog.at_level(logging.INFO, "bundle"):
        CLIPTowers(32, pretrained=str(whole))
        assert "interpolated" not in caplog.text
        towers = CLIPTowers(48, pretrained=str(whole))
    assert "CLIP's positions are interpolated from 32 px to 48 px." in caplog.messages
    assert towers.vision.patch_positions().shape == (36, 16)
