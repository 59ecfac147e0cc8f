"""Open-vocabulary detectors from folders of tiny random weights, as save_pretrained leaves them."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
)

from bundle.networks import OpenVocabularyDetector

FINDINGS = ["Effusion", "Mass", "Nodule"]
PROMPTS = {"positive": ["{finding}", "a {finding}"], "names": {"Effusion": "pleural effusion"}, "_desc_": "two each"}
SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


def write_constants(folder, size):
    constants = {"image_mean": MEAN, "image_std": STD, "size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(constants))


@pytest.fixture
def owl(tmp_path, tokenizer):
    """A folder with OWLv2: 64 px, patches of 16."""
    torch.manual_seed(0)
    config = Owlv2Config(
        text_config={**SIZES, "vocab_size": 49408, "max_position_embeddings": 16},
        vision_config={**SIZES, "image_size": 64, "patch_size": 16},
        projection_dim=16,
        initializer_factor=0.02,  # at the library's 1 random boxes have no height
    )
    Owlv2ForObjectDetection(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_constants(tmp_path, {"height": 64, "width": 64})
    return tmp_path


@pytest.fixture
def dino(tmp_path):
    """A folder with Grounding DINO; the special tokens stand where BERT's vocabulary has them."""
    torch.manual_seed(0)
    words = ["pleural", "effusion", "mass", "nod", "##ule", "a"]
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    fixed |= {2000 + i: word for i, word in enumerate(words)}
    vocabulary = {fixed.get(i, f"[unused{i}]"): i for i in range(2010)}
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 1],
            "num_heads": [1, 1, 2],
            "window_size": 4,
            "image_size": 64,
            "out_indices": [2, 3],
        },
        text_config={**SIZES, "model_type": "bert", "vocab_size": 2010},
        d_model=32,
        num_queries=10,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        num_feature_levels=2,
        max_text_len=32,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(tmp_path)
    BertTokenizer(vocab=vocabulary).save_pretrained(tmp_path)
    write_constants(tmp_path, {"shortest_edge": 64, "longest_edge": 128})
    return tmp_path


@pytest.fixture
def image():
    return torch.rand(2, 1, 100, 100, generator=torch.Generator().manual_seed(3))


def prepared(image):
    """The model's input, written out."""
    small = F.interpolate(image, (64, 64), mode="bilinear", antialias=True).repeat(1, 3, 1, 1)
    return (small - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def check(out, queries, image, raw):
    assert out["detection_boxes"].shape == (2, queries, 4)
    assert out["detection_scores"].shape == (2, queries, 3)
    cx, cy, w, h = (100 * raw.pred_boxes).unbind(-1)
    wanted = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
    torch.testing.assert_close(out["detection_boxes"], wanted, rtol=1e-4, atol=1e-3)


def test_owl(owl, image, tokenizer):
    net = OpenVocabularyDetector(owl, FINDINGS, PROMPTS)
    out = net(image)
    model = Owlv2ForObjectDetection.from_pretrained(owl).eval()
    texts = ["pleural effusion", "a pleural effusion", "mass", "a mass", "nodule", "a nodule"]
    tokens = tokenizer(texts, padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        raw = model(
            pixel_values=prepared(image),
            input_ids=tokens["input_ids"].repeat(2, 1),
            attention_mask=tokens["attention_mask"].repeat(2, 1),
        )
    check(out, 16, image, raw)
    wanted = raw.logits.sigmoid().unflatten(-1, (3, 2)).mean(-1)  # two prompts a finding
    torch.testing.assert_close(out["detection_scores"], wanted, rtol=1e-4, atol=1e-5)


def test_grounding_dino(dino, image):
    net = OpenVocabularyDetector(dino, FINDINGS, {"names": {"Effusion": "pleural effusion"}})
    out = net(image)
    # [CLS] pleural effusion . mass . nod ##ule . [SEP]
    assert net.tokens[0].tolist() == [101, 2000, 2001, 1012, 2002, 1012, 2003, 2004, 1012, 102]
    model = GroundingDinoForObjectDetection.from_pretrained(dino).eval()
    with torch.no_grad():
        raw = model(pixel_values=prepared(image), input_ids=net.tokens.repeat(2, 1))
    check(out, 10, image, raw)
    p = raw.logits.sigmoid()
    wanted = torch.stack([p[..., 1:3].mean(-1), p[..., 4], p[..., 6:8].mean(-1)], -1)
    torch.testing.assert_close(out["detection_scores"], wanted, rtol=1e-4, atol=1e-5)


def test_it_is_frozen(owl):
    net = OpenVocabularyDetector(owl, FINDINGS).train()
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())


def test_a_missing_folder_says_what_is_wanted(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)nowhere.*config.json.*hf download"):
        OpenVocabularyDetector(tmp_path / "nowhere", FINDINGS)


def test_missing_constants_are_named(owl):
    (owl / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
    with pytest.raises(ValueError, match="image_mean None"):
        OpenVocabularyDetector(owl, FINDINGS)
    (owl / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config\.json"):
        OpenVocabularyDetector(owl, FINDINGS)


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match=r"'clip'; wanted one of \['owlv2'"):
        OpenVocabularyDetector(tmp_path, FINDINGS)


def test_half_precision_is_read_as_float32_and_a_part_is_refused(owl):
    path = owl / "model.safetensors"
    weights = {name: value.half() for name, value in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})
    assert {p.dtype for p in OpenVocabularyDetector(owl, FINDINGS).parameters()} == {torch.float32}
    save_file({name: value for name, value in weights.items() if "box_head" not in name}, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"do not make a Owlv2ForObjectDetection: they lack: box_head\.dense0\.bias"):
        OpenVocabularyDetector(owl, FINDINGS)


def test_too_long_a_prompt_is_refused(owl):
    with pytest.raises(ValueError, match="16 tokens"):
        OpenVocabularyDetector(owl, FINDINGS, {"positive": ["{finding} " + "of the chest " * 9]})
