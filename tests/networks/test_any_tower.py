"""Vision towers of every family, from folders of any precision: what they give, train, explain, and refuse."""

import json
import logging
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from bundle.data.tokenizer import load_tokenizer
from bundle.export.exportable import Exportable
from bundle.export.onnx_file import export_onnx, run_onnx
from bundle.losses import PatchCLIPLoss
from bundle.networks import CLIPTowers, Downscaler, PatchCLIP
from bundle.networks.architecture import architecture_of_folder
from bundle.networks.vision_families import FAMILIES
from bundle.saliency import METHODS

SIDE, PATCH, WIDTH = 32, 8, 32
VISION = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": PATCH}
VISION |= {"image_size": SIDE}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
STATISTICS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


def siglip():
    text = {**TEXT, "projection_size": WIDTH, "vocab_size": 49_408, "max_position_embeddings": 16, "pad_token_id": 1}
    return transformers.SiglipModel(transformers.SiglipConfig(vision_config=VISION, text_config=text))


def alone(kind):
    family = FAMILIES[kind]
    return lambda: family.model(family.config(**VISION))


MODELS = {"siglip": siglip, **{kind: alone(kind) for kind in FAMILIES}}
KINDS = sorted(MODELS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny random models as save_pretrained leaves them, with a preprocessor's configuration: in float16 under the
    family's name, and the same numbers in float32."""
    root = tmp_path_factory.mktemp("families")
    torch.manual_seed(0)
    for kind, make in MODELS.items():
        model = make()
        for parameter in model.parameters():  # no zeros: they would hide what is lost
            torch.nn.init.normal_(parameter, std=0.2)
        model.half().save_pretrained(root / kind)
        (root / kind / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
        model.float().save_pretrained(root / f"{kind}-float32")
        shutil.copy(root / kind / "preprocessor_config.json", root / f"{kind}-float32")
    return root


@pytest.fixture
def copied(folders, tmp_path):
    return lambda kind: shutil.copytree(folders / kind, tmp_path / kind)


def patch_clip(clip, tokenizer=None, **more):
    sparse = {"num_layers": 1, "num_heads": 2, "feedforward": 16}
    return PatchCLIP(["Effusion", "Mass"], Downscaler(132, SIDE, 4), clip, tokenizer, sparse=sparse, **more)


def with_text(folder, kind):
    """From a folder; of families without text tower the prompts are made up, as a checkpoint would bring them."""
    torch.manual_seed(1)
    return CLIPTowers(SIDE, pretrained=str(folder), projection_dim=12, with_text=kind == "siglip")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_becomes_a_tower_that_sees_what_the_model_sees(folders, kind):
    towers = CLIPTowers(SIDE, pretrained=str(folders / kind), projection_dim=12).eval()
    assert {p.dtype for p in towers.parameters()} == {torch.float32}
    whole = CLIPTowers(SIDE, pretrained=str(folders / f"{kind}-float32"), projection_dim=12).state_dict()
    whole |= {} if kind == "siglip" else {"vision.projection.weight": towers.vision.projection.weight}  # which is new
    assert all(torch.equal(value, whole[name]) for name, value in towers.state_dict().items())
    family = FAMILIES["siglip_vision_model" if kind == "siglip" else kind]
    model = family.model.from_pretrained(folders / kind, dtype=torch.float32).eval()
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        seen, wanted = towers.vision(pixels), model(pixel_values=pixels)
        others = int(family.class_token) + family.registers(model.config)
        assert torch.allclose(towers.vision.norm(seen.patch_tokens), wanted.last_hidden_state[:, others:], atol=1e-5)
        stands = wanted.pooler_output if not family.class_token else wanted.last_hidden_state[:, 0]
        assert torch.allclose(seen.global_embedding, towers.vision.projection(stands), atol=1e-5)
    assert seen.patch_tokens.shape == (2, 16, WIDTH)
    assert towers.vision.grid == (4, 4)
    assert towers.embedding_dim == (WIDTH if kind == "siglip" else 12)
    assert (towers.text is not None) == (kind == "siglip")
    assert towers.random == ([] if kind == "siglip" else ["vision.projection"])
    assert towers.pixels.mean == (0.5, 0.4, 0.3)
    positions = towers.vision.patch_positions()
    assert positions.shape == (16, WIDTH)
    assert bool(positions.any()) == (not family.rotary)


PARTS = {  # of the vision model: its blocks, and of one the norm, attention, matrix after the heads and its scale
    "clip": ("encoder.layers", "layer_norm1", "self_attn", "out_proj", None),
    "siglip": ("encoder.layers", "layer_norm1", "self_attn", "out_proj", None),
    "dinov2": ("encoder.layer", "norm1", "attention", "o_proj", "layer_scale1"),
    "dinov2_with_registers": ("encoder.layer", "norm1", "attention", "o_proj", "layer_scale1"),
    "vit": ("layers", "layernorm_before", "attention", "o_proj", None),
}


def clip_folder(folder):
    text = {**TEXT, "vocab_size": 49_408, "max_position_embeddings": 16}
    config = {"vision_config": {**VISION, "intermediate_size": 64}, "text_config": text, "projection_dim": 12}
    model = transformers.CLIPModel(transformers.CLIPConfig(**config))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", PARTS)
def test_the_value_path_is_values_without_attention(folders, tmp_path, kind):
    folder = clip_folder(tmp_path / kind) if kind == "clip" else folders / kind
    given = {"pretrained": str(folder), "with_text": False}
    value = CLIPTowers(SIDE, patch_tokens="value", **given).eval().vision
    whole = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}.get(kind)
    loader = whole or FAMILIES[kind].model
    model = loader.from_pretrained(folder, dtype=torch.float32).eval()
    model = model.vision_model if whole else model
    blocks, norm, attention, output, scale = PARTS[kind]
    last = model.get_submodule(blocks)[-1]
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        entering = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2][:, -16:]
        normalised, attends = getattr(last, norm)(entering), getattr(last, attention)
        v, o = attends.v_proj, getattr(attends, output)
        wanted = (normalised @ v.weight.T + v.bias) @ o.weight.T + o.bias
        wanted = wanted * getattr(last, scale).lambda1 if scale else wanted
        seen, usual = value(pixels), CLIPTowers(SIDE, **given).eval().vision(pixels)
    torch.testing.assert_close(seen.patch_tokens, wanted, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(seen.patch_tokens, usual.patch_tokens, atol=0.1)
    assert torch.equal(seen.class_token, usual.class_token)
    if kind not in FAMILIES:  # whose projection is new
        assert torch.equal(seen.global_embedding, usual.global_embedding)
    assert not getattr(value.blocks.layers[-1], norm)._forward_hooks  # nothing stays behind


def test_a_path_of_patch_tokens_that_is_none_is_refused(folders):
    with pytest.raises(ValueError, match="patch_tokens is 'values'; give one of block, value"):
        CLIPTowers(SIDE, pretrained=str(folders / "vit"), patch_tokens="values")


@pytest.mark.parametrize("kind", KINDS)
def test_another_size_interpolates_the_positions_with_a_line_in_the_log(folders, kind, caplog):
    with caplog.at_level(logging.INFO, "bundle"):
        towers = CLIPTowers(48, pretrained=str(folders / kind), with_text=False)
    lines = [r.message for r in caplog.records if "interpolated" in r.message]
    assert len(lines) == (kind != "dinov3_vit")
    assert all("from 4x4 patches (32 px) to 6x6 (48 px)" in line for line in lines)
    assert towers.vision(torch.randn(1, 3, 48, 48)).patch_tokens.shape == (1, 36, WIDTH)
    assert towers.vision.patch_positions().shape == (36, WIDTH)


@pytest.mark.parametrize("kind", KINDS)
def test_patch_clip_trains_and_is_read_back_without_the_folder(folders, tokenizer, kind, tmp_path):
    clip = with_text(folders / kind, kind)
    network = patch_clip(clip, tokenizer if kind == "siglip" else None)
    mean = torch.tensor([0.5, 0.4, 0.3]).mean()
    assert torch.equal(network.pixel_mean, mean)
    if kind != "siglip":
        network.prompt_embeddings.copy_(torch.nn.functional.normalize(torch.randn(2, 2, 12), dim=-1))
    image, mask = torch.rand(2, 1, 132, 132), torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    mask[0, 0, 1, 2] = True
    truth = {"label": torch.tensor([[1, 0], [0, 0]]), "boxed": torch.ones(2, 2, dtype=torch.bool), "patch_mask": mask}
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = PatchCLIPLoss()(network.train()(image, patch_mask=mask, full=True), truth)["loss"]
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert not [name for name in without if not name.startswith(("clip.text", "image_score"))], without
    optimizer.step()
    changed = [name for name, p in network.named_parameters() if not torch.equal(p, before[name])]
    assert any(name.startswith("clip.vision.model") for name in changed)
    with torch.no_grad():
        output = network.eval()(image, full=True)
        torch.save(network.state_dict(), tmp_path / "model.pt")
    assert output["pred"].shape == (2, 2, 4, 4)
    assert output["pred"].isfinite().all()

    fields = json.loads(json.dumps({"projection_dim": 12, **architecture_of_folder(folders / kind)}))
    again = patch_clip(CLIPTowers(SIDE, **fields)).eval()
    again.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(again(image, full=True)["pred"], output["pred"])
    assert again.has_prompts


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov3_vit", "siglip"])  # rotary positions, attention pooling; the others agree too
def test_onnx_gives_what_the_tower_gives(folders, kind, tmp_path):
    network = patch_clip(CLIPTowers(SIDE, pretrained=str(folders / kind), projection_dim=12, with_text=False)).eval()
    embeddings = torch.randn(network.prompt_embeddings.shape, generator=torch.Generator().manual_seed(1))
    network.prompt_embeddings.copy_(torch.nn.functional.normalize(embeddings, dim=-1))
    exportable = Exportable(network)
    differences = export_onnx(exportable, 132, {"notice": "for tests"}, tmp_path / "model.onnx")  # or refuses
    assert max(differences.values()) < 1e-5
    image = torch.rand(3, 1, 132, 132)
    with torch.inference_mode():
        for one, other in zip(run_onnx(tmp_path / "model.onnx")(image), exportable(image), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["siglip", "dinov2_with_registers", "dinov3_vit", "vit"])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_saliency_looks_into_the_families_that_have_what_it_reads(folders, tokenizer, kind, method):
    network = patch_clip(with_text(folders / kind, kind), tokenizer if kind == "siglip" else None).eval()
    image = torch.rand(1, 1, 132, 132)
    if kind == "siglip" and method != "grad_cam":
        with pytest.raises(ValueError, match="has no class token"):
            METHODS[method](network, image)
        return
    if kind != "siglip":
        network.prompt_embeddings.copy_(torch.nn.functional.normalize(torch.randn(2, 2, 12), dim=-1))
    maps = METHODS[method](network, image)
    network.clip.vision.patch_path = "value"  # is the heads' matter
    assert torch.equal(METHODS[method](network, image), maps)
    assert maps.shape == (1, 2, 4, 4)
    assert maps.isfinite().all()
    assert maps.any()


def test_siglips_texts_are_what_the_model_makes_of_padded_texts(folders):
    towers = CLIPTowers(SIDE, pretrained=str(folders / "siglip")).eval()
    model = transformers.SiglipModel.from_pretrained(folders / "siglip", dtype=torch.float32).eval()
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    padded = torch.full((2, 16), 1)
    padded[:, :4] = torch.where(mask.bool(), ids, 1)
    with torch.no_grad():
        wanted = model.get_text_features(padded)
        assert torch.allclose(towers.text(ids, mask), wanted.pooler_output, atol=1e-5)
    assert torch.equal(towers.logit_bias, model.logit_bias[0])
    assert torch.allclose(towers.scale(), model.logit_scale[0].exp())


def test_siglips_bias_is_in_the_logits_and_in_no_probability(folders, tokenizer):
    network = patch_clip(with_text(folders / "siglip", "siglip"), tokenizer).eval()
    image = torch.rand(1, 1, 132, 132)
    with torch.no_grad():
        before = network(image, full=True)
        network.clip.logit_bias += 3
        after = network(image, full=True)
    assert torch.allclose(after["global_logits"], before["global_logits"] + 3, atol=1e-5)
    assert torch.allclose(after["scores"]["global"], before["scores"]["global"], atol=1e-5)
    with pytest.raises(ValueError, match="text projection has a bias"):
        patch_clip(with_text(folders / "siglip", "siglip"), tokenizer, separate_prompts=True)


def test_pixels_come_from_the_folder_or_the_family_or_are_asked_for(copied):
    for kind, mean in (("siglip", 0.5), ("dinov2", 0.485), ("dinov3_vit", 0.485)):
        folder = copied(kind)
        (folder / "preprocessor_config.json").unlink()
        assert CLIPTowers(SIDE, pretrained=str(folder), with_text=False).pixels.mean[0] == mean
    folder = copied("vit")
    (folder / "preprocessor_config.json").rename(folder / "processor_config.json")
    assert CLIPTowers(SIDE, pretrained=str(folder)).pixels.std == (0.2, 0.3, 0.4)
    (folder / "processor_config.json").unlink()
    with pytest.raises(ValueError, match=r"no preprocessor_config\.json to say which.*give `pixels`"):
        CLIPTowers(SIDE, pretrained=str(folder))
    given = {"mean": [0.1, 0.1, 0.1], "std": [0.2, 0.2, 0.2]}
    assert CLIPTowers(SIDE, pretrained=str(folder), pixels=given).pixels.mean == (0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="each of three numbers"):
        CLIPTowers(SIDE, pretrained=str(folder), pixels={"mean": [0.1], "std": [0.2]})
    (folder / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ValueError, match="no configuration of a processor"):
        CLIPTowers(SIDE, pretrained=str(folder))


def without_last_block(content):
    return {name: v for name, v in content.items() if not any(f"layer{s}.1." in name for s in ("", "s"))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_last_block, r"they lack: .*layers?\.1\."),
        (lambda c: {f"module.{name}": v for name, v in c.items()}, "they lack: "),
        (lambda c: {n: v[..., :-1] if n.endswith("bias") else v for n, v in c.items()}, "have other shapes: "),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_by_name(copied, kind, change, said):
    folder = copied(kind)
    content = {name: value.clone() for name, value in change(load_file(folder / "model.safetensors")).items()}
    save_file(content, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=said):
        CLIPTowers(SIDE, pretrained=str(folder))


def test_what_no_tower_can_be_made_of_is_refused_by_name(copied):
    folder = copied("dinov2")
    config = json.loads((folder / "config.json").read_text())
    for kind, said in (("siglip2", "holds a 'siglip2'.*NaFlex"), ("bert", "holds a 'bert'"), ("clip", "they lack: ")):
        sizes = {"vision_config": VISION, "text_config": TEXT} if kind == "clip" else config
        (folder / "config.json").write_text(json.dumps({**sizes, "model_type": kind}))
        with pytest.raises(ValueError, match=said):
            CLIPTowers(SIDE, pretrained=str(folder))
    with pytest.raises(ValueError, match="model_type is 'resnet'; give one of clip, siglip"):
        CLIPTowers(SIDE, vision={"model_type": "resnet", **VISION})
    with pytest.raises(ValueError, match="no field of Dinov2Config"):
        CLIPTowers(SIDE, vision={"model_type": "dinov2", **VISION, "intermediate_size": 3})
    with pytest.raises(ValueError, match="not of a 'dinov2_with_registers's"):
        CLIPTowers(SIDE, pretrained=str(copied("dinov2_with_registers")), stem={})


def test_a_checkpoint_without_prompts_is_not_taken_for_one_with_them(folders):
    network = patch_clip(with_text(folders / "vit", "vit"))
    assert not network.has_prompts
    network.load_state_dict(network.state_dict())
    assert not network.has_prompts


def test_a_tokenizer_that_wants_another_package_says_which(tmp_path, monkeypatch):
    def wants(*_, **__):
        raise ImportError("SiglipTokenizer requires\nthe SentencePiece library")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", wants)
    with pytest.raises(ImportError, match=r"pip install --no-deps sentencepiece==.* requires the SentencePiece"):
        load_tokenizer(tmp_path)
