"""The network's call contract, its prompts, its frozen parts, its weights."""

import math

import pytest
import torch
import torch.nn.functional as F

from bundle.checkpoints import load_weights, save_atomically
from bundle.losses import PatchCLIPLoss, ReportContrastiveLoss
from bundle.networks import CLIPTowers, Downscaler, PatchCLIP
from bundle.networks.image_score import SCORES

B, K, D, G = 2, 3, 12, 4


@pytest.fixture
def image():
    return torch.rand(B, 1, 132, 132, generator=torch.Generator().manual_seed(3))


def test_maps_and_full_output(build, image):
    net = build().eval()
    with torch.no_grad():
        maps, full = net(image), net(image, full=True)
    assert maps.shape == (B, K, G, G)
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    torch.testing.assert_close(maps, full["pred"])
    shapes = {
        "global_embedding": (B, D),
        "pooled_embedding": (B, D),
        "sparse_embedding": (B, K, D),
        "patch_embedding": (B, G * G, D),
        "global_logits": (B, K, 2),
        "pooled_logits": (B, K, 2),
        "sparse_logits": (B, K, 2),
        "patch_logits": (B, K, G * G, 2),
        "sparse_valid": (B, K),
    }
    assert {name: tuple(full[name].shape) for name in shapes} == shapes
    assert set(full["scores"]) == {"global", "pooled", "sparse", "patch", "image"}
    for name in ("global_embedding", "pooled_embedding", "sparse_embedding", "patch_embedding"):
        torch.testing.assert_close(full[name].norm(dim=-1), torch.ones(full[name].shape[:-1]))


def test_scores_are_the_softmax_over_the_prompt_pair(build, image):
    net = build().eval()
    with torch.no_grad():
        out = net(image, full=True)
        scale = net.clip.logit_scale.exp()
        for b in range(B):
            for k in range(K):
                pair = torch.stack([scale * out["global_embedding"][b] @ net.prompts()[k, side] for side in (0, 1)])
                assert float(out["scores"]["global"][b, k]) == pytest.approx(float(pair.softmax(0)[1]), abs=1e-6)
    torch.testing.assert_close(out["scores"]["patch"], out["pred"].flatten(2).amax(-1))


def test_normalisation_is_chexzeros(build):
    net = build()
    x = torch.tensor([0.0, 0.5, 1.0])
    wanted = (255 * x - 101.48761) / 83.43944
    torch.testing.assert_close((x - net.pixel_mean) / net.pixel_std, wanted)


def test_prompts_are_averaged_and_follow_the_names(build, tokenizer):
    templates = {"positive": ["{finding}", "there is {finding}"], "negative": ["no {finding}"]}
    net = build(prompts={**templates, "names": {"Effusion": "pleural effusion"}}).eval()

    def text(words):
        tokens = tokenizer([words], padding="max_length", max_length=77, return_tensors="pt")
        return F.normalize(net.clip.text(tokens["input_ids"], tokens["attention_mask"])[0], dim=0)

    with torch.no_grad():
        mean = (text("pleural effusion") + text("there is pleural effusion")) / 2
        torch.testing.assert_close(net.prompts()[0, 1], F.normalize(mean, dim=0), atol=1e-5, rtol=0)
        torch.testing.assert_close(net.prompts()[1, 0], text("no mass"), atol=1e-5, rtol=0)


def test_prompts_are_cached_only_while_the_text_tower_is_frozen(build, image):
    calls = []
    frozen = build(trainable=["downscaler.*"])
    frozen.clip.text.model.register_forward_hook(lambda *_: calls.append("frozen"))
    frozen.train()
    for _ in range(3):
        frozen(image)
    assert calls == ["frozen"]
    training = build(trainable=["clip.text.*"])
    training.clip.text.model.register_forward_hook(lambda *_: calls.append("training"))
    training.train()
    training(image).sum().backward()
    training(image)
    assert calls.count("training") == 2
    assert training.clip.text.projection.weight.grad.abs().max() > 0
    half = build(seed=1, trainable=["clip.text.projection.*"])
    half.clip.text.model.register_forward_hook(lambda *_: calls.append("half"))
    half.train()
    before = half.prompts().detach()
    half(image).sum().backward()
    with torch.no_grad():
        half.clip.text.projection.weight.sub_(half.clip.text.projection.weight.grad)
    assert calls.count("half") == 1  # only what is projected is kept, not the projection
    assert (half.prompts() - before).abs().max() > 1e-3


def test_kept_prompts_are_those_that_are_saved_whatever_the_autocast(build):
    net = build(trainable=["downscaler.*"]).train()
    with torch.autocast("cpu", torch.bfloat16):
        used = net.prompts().clone()
    assert torch.equal(net.state_dict()["prompt_embeddings"], used)


def test_saved_weights_need_no_text_tower(build, image, tmp_path):
    net = build(seed=1).eval()
    save_atomically(net.state_dict(), tmp_path / "model.pt")
    alone = build(seed=2, text=False).eval()
    assert (net.has_prompts, alone.has_prompts) == (True, False)
    load_weights(alone, tmp_path / "model.pt")
    assert alone.has_prompts
    assert alone.clip.text is None
    with torch.no_grad():
        torch.testing.assert_close(alone(image), net(image), atol=0, rtol=0)


def test_stored_prompts_belong_to_the_stored_text_tower(build, image):
    net = build(trainable=["clip.text.*"]).train()
    net(image)
    with torch.no_grad():
        for p in net.clip.text.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    stored = net.state_dict()["prompt_embeddings"].clone()
    torch.testing.assert_close(stored, net.eval().prompts())


def test_weights_of_other_findings_are_refused_without_text_tower(build, tmp_path):
    save_atomically(build().state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"weights are for the findings.*Effusion.*configuration says.*Mass"):
        load_weights(build(text=False, findings=["Mass", "Nodule", "Effusion"]), tmp_path / "model.pt")


def test_pretrained_weights_serve_another_list_of_findings(build, image, tmp_path):
    net = build()
    save_atomically(net.state_dict(), tmp_path / "model.pt")
    other = build(seed=5, findings=["Pneumothorax"])
    load_weights(other, tmp_path / "model.pt")
    assert other.eval()(image).shape == (B, 1, G, G)
    torch.testing.assert_close(other.clip.vision.projection.weight, net.clip.vision.projection.weight)


def test_weights_that_do_not_fit_are_refused_with_the_file(build, tmp_path):
    save_atomically(build(stem=False).state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt does not fit this network"):
        load_weights(build(), tmp_path / "model.pt")
    with pytest.raises(FileNotFoundError, match="No weights at"):
        load_weights(build(), tmp_path / "none.pt")


def test_frozen_stays_frozen_inside_train(build, image):
    net = build(trainable=["downscaler.*", "projection.*"]).train()
    assert net.downscaler.training
    assert not any(m.training for m in net.clip.modules())
    assert not any(m.training for m in net.sparse.modules())
    assert {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad} == {"downscaler", "projection"}
    before = {n: b.clone() for n, b in net.clip.named_buffers()}
    net(image, full=True)["pred"].sum().backward()
    assert all(torch.equal(before[n], b) for n, b in net.clip.named_buffers())
    # the gradient flows through the frozen tower to the downscaler
    assert net.downscaler.layers[0].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in net.clip.parameters())


def test_a_pattern_that_matches_nothing_is_refused(build):
    with pytest.raises(ValueError, match=r"'clip\.visual\.\*' matches no parameter.*clip\.vision\.\*"):
        build(trainable=["clip.visual.*"])


def test_a_training_step_moves_every_head(build, image):
    net = build().train()
    mask = torch.zeros(B, K, G, G, dtype=torch.bool)
    mask[0, 0, 1, 1:3] = True
    label = torch.tensor([[1.0, 0.0, math.nan], [0.0, 0.0, 1.0]])
    target = {"label": label, "patch_mask": mask, "boxed": label == 0}
    loss = PatchCLIPLoss()(net(image, patch_mask=mask, full=True), target)["loss"]
    loss.backward()
    for name in ("projection.linear.weight", "pooled.weight", "sparse.class_token", "image_score.theta"):
        assert net.get_parameter(name).grad.abs().max() > 0, name


def test_pretraining_reads_reports(build, image, tokenizer):
    net = build().train()
    tokens = tokenizer(["No mass.", "A nodule."], padding="max_length", max_length=77, return_tensors="pt")
    out = net(image, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    ReportContrastiveLoss()(out, {})["loss"].backward()
    for name in ("downscaler.layers.0.weight", "clip.text.projection.weight", "clip.logit_scale"):
        assert net.get_parameter(name).grad.abs().max() > 0, name
    with pytest.raises(ValueError, match="without a text tower"):
        build(text=False)(image, input_ids=tokens["input_ids"])


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ("global", 0.2),
        ({"global": 1, "patch": 3}, (0.2 + 3 * 0.8) / 4),
        ("learned", (0.2 + 0.4 + 0.6 + 0.8) / 4),
    ],
)
def test_image_score(build, weights, wanted):
    net = build(image_score={"weights": weights})
    scores = {name: torch.full((1, 1), v) for name, v in zip(SCORES, (0.2, 0.4, 0.6, 0.8), strict=True)}
    assert float(net.image_score(scores)["image"].detach()) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ({"pooled": 1, "sparse": 1}, 0.4),
        ("sparse", (0.1 + 0.4 + 0.9) / 3),  # no configured score is there
        ({"sparse": 2, "patch": 0}, (0.1 + 0.4 + 0.9) / 3),
        ("learned", (0.1 + 0.4 + 0.9) / 3),
    ],
)
def test_image_score_falls_back_where_the_sparse_score_is_absent(build, weights, wanted):
    net = build(image_score={"weights": weights})
    values = {"global": 0.1, "pooled": 0.4, "sparse": math.nan, "patch": 0.9}
    scores = {name: torch.full((1, 1), value) for name, value in values.items()}
    assert float(net.image_score(scores)["image"].detach()) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("in_size", "out_size"), [(900, 224), (452, 112), (132, 32)])
def test_downscaler_sizes(in_size, out_size):
    assert Downscaler(in_size, out_size, 2)(torch.rand(1, 1, in_size, in_size)).shape == (1, 3, out_size, out_size)


@pytest.mark.parametrize(
    ("strides", "in_size", "out_size", "hidden_size"),
    [((1, 2), 900, 448, 898), ((3, 2), 904, 150, 301), ((4, 1), 131, 31, 33), ([2, 2], 900, 224, 449)],
)
def test_the_downscalers_strides_are_a_choice(strides, in_size, out_size, hidden_size):
    downscaler = Downscaler(in_size, out_size, 2, strides)
    hidden = downscaler.begin(torch.rand(1, 1, in_size, in_size))
    assert hidden.shape == (1, 2, hidden_size, hidden_size)
    assert downscaler.hidden_size == hidden_size
    assert downscaler.finish(hidden).shape == (1, 3, out_size, out_size)


def test_sizes_that_strides_do_not_lead_to_are_refused_with_those_that_fit():
    with pytest.raises(ValueError, match="with the strides") as caught:
        Downscaler(900, 448)
    said = str(caught.value)
    assert "in_size one of [1795, 1796, 1797, 1798], or the strides [1, 2], or set out_size to 224" in said
    for in_size in (1795, 1798):
        Downscaler(in_size, 448, 1)
    for in_size in (1794, 1799):
        with pytest.raises(ValueError, match="leads to"):
            Downscaler(in_size, 448, 1)
    for strides in ([2], [0, 2], [2.0, 2], [True, 2]):
        with pytest.raises(ValueError, match="two whole numbers"):
            Downscaler(900, 224, strides=strides)


def test_a_fine_grid_takes_its_detail_where_the_strides_leave_it(build):
    net = build(stem=False, patch_factor=2, downscaler=Downscaler(67, 32, 4, (1, 2)))
    assert net(torch.rand(1, 1, 67, 67)).shape == (1, 3, 8, 8)


def test_a_wrong_pair_of_sizes_names_both():
    with pytest.raises(
        ValueError, match=r"in_size 800 .* out_size is 224\. For out_size 224 give in_size one of \[.*900"
    ):
        Downscaler(800, 224)


def test_missing_clip_folder_says_what_is_wanted(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No CLIP model at .*config\.json, model\.safetensors.*`pretrained`"):
        CLIPTowers(pretrained=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("side", "key", "said"),
    [
        (
            "vision",
            "hiden_size",
            r"vision has 'hiden_size' \(did you mean hidden_size\?\): no field of CLIPVisionConfig",
        ),
        ("text", "num_layers", r"text has 'num_layers'.*: no field of CLIPTextConfig"),
    ],
)
def test_a_tower_refuses_a_key_that_is_no_field(side, key, said):
    with pytest.raises(ValueError, match=said):
        CLIPTowers(image_size=32, **{side: {key: 16, "_desc_": "a comment is none"}})


def test_pretrained_folder_and_another_grid(tmp_path):
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = CLIPConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=32, patch_size=8).to_dict(),
        text_config=CLIPTextConfig(**sizes, eos_token_id=49407).to_dict(),
        projection_dim=12,
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    towers = CLIPTowers(image_size=32, pretrained=str(tmp_path)).eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = towers.vision(pixels)
        wanted = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(features.global_embedding, wanted)
    assert features.patch_tokens.shape == (2, 16, 16)
    larger = CLIPTowers(image_size=48, pretrained=str(tmp_path)).eval()  # 6x6 patches: the table is interpolated
    assert larger.vision(torch.rand(1, 3, 48, 48)).patch_tokens.shape == (1, 36, 16)
    assert larger.vision.patch_positions().shape == (36, 16)


@pytest.mark.parametrize("channels_last", [True, False])
def test_bfloat16_and_layout(build, image, channels_last):
    from bundle.precision import Precision

    precision = Precision("bfloat16", channels_last)
    net = precision.place(build().eval(), torch.device("cpu"))
    with torch.no_grad():
        exact = net(image)
        with precision.context(torch.device("cpu")):
            rough = net(precision.layout(image))
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0)


def test_a_fixed_image_score_is_configuration_not_weights(build, tmp_path):
    learned = build()
    with torch.no_grad():
        learned.image_score.theta.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0]))
    save_atomically(learned.state_dict(), tmp_path / "model.pt")
    fixed, again = build(image_score={"weights": "patch"}), build()
    load_weights(fixed, tmp_path / "model.pt")
    load_weights(again, tmp_path / "model.pt")
    scores = {name: torch.full((1, 1), v) for name, v in zip(SCORES, (0.2, 0.4, 0.6, 0.8), strict=True)}
    assert float(fixed.image_score(scores)["image"]) == pytest.approx(0.8, abs=1e-6)
    assert float(again.image_score(scores)["image"].detach()) == pytest.approx(0.4, abs=1e-3)


def test_attention_of_another_implementation_is_the_same_network(build, image):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    towers = [
        CLIPTowers(image_size=32, vision={"patch_size": 8, **sizes}, projection_dim=D, attention=attention).eval()
        for attention in (None, "eager")
    ]
    towers[1].load_state_dict(towers[0].state_dict())
    assert [tower.vision.model.config._attn_implementation for tower in towers] == ["sdpa", "eager"]
    pixels = image[..., :32, :32].expand(-1, 3, -1, -1)
    torch.testing.assert_close(towers[1].vision(pixels)[:3], towers[0].vision(pixels)[:3])
    with pytest.raises(ValueError, match="eager"):
        CLIPTowers(image_size=32, vision={"patch_size": 8, **sizes}, attention="quick")


def test_names_of_other_findings_have_no_effect_and_misspelt_ones_are_refused(build, caplog):
    caplog.set_level("INFO")
    plain, other = (
        build(prompts={"names": {"Effusion": "pleural effusion", **more}})
        for more in ({}, {"Fracture": "rib fracture"})
    )
    assert "Fracture is not among the findings" in caplog.text
    other.load_state_dict(plain.state_dict())
    torch.testing.assert_close(other.eval().prompts(), plain.eval().prompts())
    with pytest.raises(ValueError, match="'Efusion', which is no finding; did you mean 'Effusion'"):
        build(prompts={"names": {"Efusion": "pleural effusion"}})


@pytest.mark.parametrize("trainable", [None, ["downscaler.*", "sparse.*"]], ids=["trained", "frozen"])
def test_checkpointing_keeps_less_of_the_tower_and_changes_no_number(tokenizer, trainable):
    def stepped(checkpointing):
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
        vision = {**sizes, "patch_size": 4, "attention_dropout": 0.3}
        clip = CLIPTowers(32, vision=vision, text=sizes, projection_dim=12, checkpointing=checkpointing)
        sparse = {"num_layers": 1, "num_heads": 2, "feedforward": 16}
        net = PatchCLIP(["Mass"], Downscaler(132, 32, 4), clip, tokenizer, sparse=sparse, trainable=trainable).train()
        kept = []

        def keep(tensor):
            kept.append(tensor.numel())
            return tensor

        torch.manual_seed(1)
        small = net.downscaler(torch.rand(2, 1, 132, 132))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = net.clip.vision(small)
        output.patch_tokens.square().sum().backward()
        return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}, sum(kept)

    gradients, whole = stepped(False)
    same, less = stepped(True)
    assert same.keys() == gradients.keys()
    assert "downscaler.layers.0.weight" in same
    assert all(torch.equal(same[name], value) for name, value in gradients.items())
    assert less < 0.5 * whole
