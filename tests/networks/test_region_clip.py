"""Regions and patches by one head, texts by number, weights that go on without either."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from bundle.checkpoints import load_weights, save_atomically
from bundle.grid import patch_boxes
from bundle.losses import (
    NegativeCaptionLoss,
    PatchCLIPLoss,
    RegionContrastiveLoss,
    ReportContrastiveLoss,
    WeightedLosses,
)
from bundle.networks import PatchCLIP, RegionCLIP

B, R, M, K, D, G, SIDE = 2, 3, 2, 3, 12, 4, 132
P, PATCH = G * G, SIDE / G
TEXTS = ["A mass.", "No finding.", "large mass in the left upper zone", "small mass in the left upper zone", "no mass"]
NAN = [math.nan] * 4


@pytest.fixture
def image():
    return torch.rand(B, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def regions():
    """The first image has two, the second none that shows anything."""
    return torch.tensor([[[10.0, 20, 90, 70], NAN, [0, 0, 132, 132]], [[200, 10, 300, 90], [5, 5, 5, 60], NAN]])


@pytest.fixture
def numbers():
    """Of texts; the second image has no report and no captions."""
    none = torch.full((1, R), -1)
    return {
        "report_id": torch.tensor([0, -1]),
        "summary_id": torch.tensor([1, 1]),
        "caption_id": torch.cat([torch.tensor([[2, -1, 3]]), none]),
        "negative_id": torch.stack([torch.tensor([[3, 4], [-1, -1], [2, -1]]), torch.full((R, M), -1)]),
    }


def opened(net, gate=0.8):
    """The same network, its gates open."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(gate)
    return net


def test_everything_that_is_asked_for(build_regions, image, regions, numbers):
    net = build_regions(texts=TEXTS, processor={"num_heads": 2}, fuse=True).eval()
    with torch.no_grad():
        out = net(image, regions=regions, **numbers)
        full = net(image, regions=regions, **numbers, full=True)
    shapes = {
        "global_embedding": (B, D),
        "logit_scale": (),
        "text_embedding": (B, D),
        "summary_embedding": (B, D),
        "region_embedding": (B, R, D),
        "region_valid": (B, R),
        "caption_embedding": (B, R, D),
        "negative_embedding": (B, R, M, D),
    }
    assert {name: tuple(value.shape) for name, value in out.items()} == shapes
    assert all(torch.equal(full[name], value) for name, value in out.items())
    assert set(full) - set(out) == {*net(image, full=True), "region_logits"} - {"global_embedding"}
    assert full["region_logits"].shape == (B, R, K, 2)
    assert out["region_valid"].tolist() == [[True, False, True], [False, False, False]]
    there = {
        "region": out["region_valid"],
        "text": numbers["report_id"] >= 0,
        "caption": numbers["caption_id"] >= 0,
        "negative": numbers["negative_id"] >= 0,
    }
    for name, mask in there.items():
        torch.testing.assert_close(out[f"{name}_embedding"].norm(dim=-1), mask.float())


def test_texts_are_read_by_number(build_regions, image, numbers):
    net = build_regions(texts=TEXTS).eval()
    tokens = net.texts._ids, net.texts._mask
    with torch.no_grad():
        out = net(image, **{k: v for k, v in numbers.items() if k != "caption_id"})
        wanted = F.normalize(net.clip.text(*tokens), dim=-1)
    assert "region_embedding" not in out
    torch.testing.assert_close(out["text_embedding"][0], wanted[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(out["negative_embedding"][0, 0], wanted[3:5], atol=1e-5, rtol=0)


def test_without_regions_and_texts_it_is_patch_clip(build, build_regions, image):
    plain = build().eval()
    for arguments in ({}, {"processor": {"num_heads": 2}, "fuse": True}):  # closed gates
        net = build_regions(seed=4, **arguments)
        net.load_state_dict(plain.state_dict())
        net.eval()
        with torch.no_grad():
            torch.testing.assert_close(net(image), plain(image))
            ours, theirs = net(image, full=True), plain(image, full=True)
        assert ours.keys() == theirs.keys()
        for name in ("pred", "global_logits", "pooled_logits", "patch_embedding"):
            torch.testing.assert_close(ours[name], theirs[name])


@pytest.mark.parametrize("processor", [None, {"num_heads": 2, "layers": 2, "feedforward": 8}])
def test_a_region_of_one_patch_is_that_patch(build_regions, image, processor):
    net = opened(build_regions(processor=processor)).eval()
    boxes = (patch_boxes((G, G)) * PATCH).expand(B, -1, -1)
    with torch.no_grad():
        out = net(image, regions=boxes, full=True)
    torch.testing.assert_close(out["region_embedding"], out["patch_embedding"], atol=1e-5, rtol=0)
    torch.testing.assert_close(out["region_logits"].transpose(1, 2), out["patch_logits"], atol=1e-4, rtol=0)


def test_a_region_of_whole_patches_is_their_mean(build_regions, image):
    net = build_regions().eval()
    with torch.no_grad():
        out = net(image, regions=torch.tensor([PATCH, 0, 3 * PATCH, PATCH]).expand(B, 1, 4))
        tokens = net.features(image).patch_tokens
    torch.testing.assert_close(out["region_embedding"][:, 0], net.projection(tokens[:, 1:3].mean(1)))


def test_boxes_give_nothing_away_to_the_image(build_regions, image, regions):
    net = opened(build_regions(processor={"num_heads": 2}, fuse=True)).eval()
    with torch.no_grad():
        seen, unseen = net(image, regions=regions, full=True), net(image, full=True)
    for name in unseen:
        if name != "scores":
            torch.testing.assert_close(seen[name], unseen[name], equal_nan=True)


def test_the_image_is_fused_with_its_likeliest_patches(build_regions, image):
    net = opened(build_regions(fuse=True), gate=0.5).eval()
    with torch.no_grad():
        out = net(image, full=True)
        alone = F.normalize(net.features(image).global_embedding, dim=-1)
        for b in range(B):
            own = torch.zeros(D)
            for k in range(K):
                best = out["pred"][b, k].flatten().argmax()
                own += out["pred"][b, k].max() * out["patch_embedding"][b, best] / K
            wanted = F.normalize(alone[b] + math.tanh(0.5) * own, dim=0)
            torch.testing.assert_close(out["global_embedding"][b], wanted)
    assert (out["global_embedding"] - alone).abs().max() > 1e-2


def losses():
    each = {"report": ReportContrastiveLoss(), "region": RegionContrastiveLoss(), "negative": NegativeCaptionLoss()}
    return WeightedLosses(each, dict.fromkeys(each, 1.0))


def test_a_training_step_moves_all_that_takes_part(build_regions, image, regions, numbers):
    net = opened(build_regions(texts=TEXTS, processor={"num_heads": 2}, fuse=True, stem=False)).train()
    numbers["report_id"] = torch.tensor([0, 1])
    out = net(image, regions=regions, **numbers)
    loss = losses()(out, {**numbers, "region_valid": out["region_valid"]})
    assert {"report", "summary", "region", "negative"} <= set(loss)
    loss["loss"].backward()
    moved = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {"downscaler", "clip", "projection", "processor", "fusion_gate"}
    assert net.clip.text.projection.weight.grad.abs().max() > 0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_what_regions_learn_the_maps_show(build_regions, image):
    net = build_regions(texts=["mass", "no mass"], trainable=["projection.*"]).train()
    box = torch.tensor([[[0.0, 0, PATCH, PATCH]]]).expand(B, 1, 4)
    numbers = {"caption_id": torch.zeros(B, 1).long(), "negative_id": torch.ones(B, 1, 1).long()}
    optimizer = torch.optim.SGD(net.projection.parameters(), lr=0.1)
    before = net(image)[:, 1, 0, 0].detach()
    for _ in range(10):
        optimizer.zero_grad()
        out = net(image, regions=box, **numbers)
        NegativeCaptionLoss()(out, {**numbers, "region_valid": out["region_valid"]})["loss"].backward()
        optimizer.step()
    assert (net(image)[:, 1, 0, 0] > before + 0.05).all()


def test_together_with_patch_clips_loss(build_regions, image, numbers):
    net = build_regions(texts=TEXTS).train()
    mask = torch.zeros(B, K, G, G, dtype=torch.bool)
    mask[0, 0, 1, 1:3] = True
    label = torch.tensor([[1.0, 0.0, math.nan], [0.0, 0.0, 0.0]])
    target = {"label": label, "patch_mask": mask, "boxed": label == label, **numbers}
    loss = WeightedLosses({"labels": PatchCLIPLoss(), "report": ReportContrastiveLoss()}, {"labels": 1, "report": 1})
    terms = loss(net(image, patch_mask=mask, full=True, report_id=torch.tensor([0, 1])), target)
    assert set(terms) == {"global", "pooled", "patch", "sparse", "image", "report", "loss"}
    terms["loss"].backward()
    assert net.sparse.class_token.grad.abs().max() > 0


@pytest.mark.parametrize("rows", [0, 2])
def test_no_regions_at_all(build_regions, image, rows):
    net = opened(build_regions(texts=TEXTS, processor={"num_heads": 2})).train()
    numbers = {"caption_id": torch.full((B, rows), -1), "negative_id": torch.full((B, rows, M), -1)}
    out = net(image, regions=torch.full((B, rows, 4), math.nan), **numbers)
    assert out["region_embedding"].shape == (B, rows, D)
    assert out["negative_embedding"].shape == (B, rows, M, D)
    terms = losses()(
        {**out, "text_embedding": out["global_embedding"]},
        {**numbers, "region_valid": out["region_valid"], "report_id": torch.full((B,), -1)},
    )
    assert float(terms["loss"].detach()) == 0
    terms["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_a_frozen_text_backbone_runs_once(build_regions, image, numbers):
    net = build_regions(texts=TEXTS, trainable=["downscaler.*", "clip.text.projection.*"], fuse=True)
    runs = []
    net.clip.text.model.register_forward_hook(lambda *_: runs.append(1))
    net.train()
    for _ in range(3):
        net(image, full=True, **numbers, regions=torch.zeros(B, R, 4))["global_embedding"].sum().backward()
    assert len(runs) == 2  # of all texts, of all prompts


def test_inference_needs_neither_texts_nor_text_tower(build_regions, image, regions, numbers, tmp_path):
    arguments = {"processor": {"num_heads": 2}, "fuse": True}
    net = opened(build_regions(seed=1, texts=TEXTS, **arguments)).eval()
    save_atomically(net.state_dict(), tmp_path / "model.pt")
    assert not any("texts" in name or "bank" in name for name in net.state_dict())
    alone = build_regions(seed=2, text=False, **arguments).eval()
    load_weights(alone, tmp_path / "model.pt")
    with torch.no_grad():
        wanted, found = (each(image, regions=regions, full=True) for each in (net, alone))
        for name in ("pred", "region_embedding", "region_logits", "global_logits"):
            torch.testing.assert_close(found[name], wanted[name], atol=0, rtol=0)
    with pytest.raises(ValueError, match="without `texts`; it cannot give text_embedding"):
        alone(image, report_id=numbers["report_id"])


def test_weights_with_a_processor_are_not_read_without(build, build_regions, tmp_path):
    save_atomically(build_regions(processor={"num_heads": 2}).state_dict(), tmp_path / "model.pt")
    for other in (build(), build_regions()):
        with pytest.raises(ValueError, match=r"(?s)does not fit this network.*processor\."):
            load_weights(other, tmp_path / "model.pt")


def test_patterns_name_the_processor_and_narrow_it(build_regions):
    net = build_regions(processor={"num_heads": 2, "dropout": 0.1}, trainable=["projection.*", "processor.*"]).train()
    assert {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad} == {"projection", "processor"}
    net.freezing.narrow(["projection.*"])
    net.train()
    assert not any(module.training for module in net.processor.modules())
    with pytest.raises(ValueError, match=r"'processor\.\*' matches no parameter"):
        build_regions(trainable=["processor.*"])


def test_pretraining_reads_reports(build_regions, image, tokenizer):
    tokens = tokenizer(["No mass.", "A nodule."], padding="max_length", max_length=77, return_tensors="pt")
    out = build_regions().train()(image, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    assert set(out) == {"global_embedding", "text_embedding", "logit_scale"}


def test_texts_need_a_text_tower(build_regions):
    with pytest.raises(ValueError, match="texts need a text tower"):
        build_regions(text=False, texts=TEXTS)


def test_a_copy_reads_with_its_own_tower(build_regions, image):
    net = build_regions(texts=TEXTS).eval()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.clip.text.projection.weight.neg_()
        mine, theirs = (each(image, report_id=torch.tensor([0, 2]))["text_embedding"] for each in (net, other))
    torch.testing.assert_close(theirs, -mine)
    assert isinstance(net, PatchCLIP)
    assert type(other) is RegionCLIP


def test_bfloat16(build_regions, image, regions):
    net = opened(build_regions(processor={"num_heads": 2}, fuse=True)).eval()
    with torch.no_grad():
        exact = net(image, regions=regions)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(image, regions=regions)
    assert rough["region_embedding"].dtype == torch.float32
    torch.testing.assert_close(rough["region_embedding"], exact["region_embedding"], atol=0.1, rtol=0)
