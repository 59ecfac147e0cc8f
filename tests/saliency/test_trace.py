"""What a saliency method may not leave behind, and what it must not depend on."""

import contextlib

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from bundle.networks import CLIPTowers, Downscaler, PatchCLIP
from bundle.saliency import METHODS
from bundle.saliency.attention import eager_attention


def traces_left(net):
    """Everything of a network that must be as before."""
    return {
        "modes": [module.training for module in net.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "attention": net.clip.vision.model.config._attn_implementation,
        "frozen": [p.requires_grad for p in net.parameters()],
        "gradients": [p.grad is not None for p in net.parameters()],
        "buffers": [b.clone() for b in net.buffers()],
    }


def assert_untouched(net, before):
    after = traces_left(net)
    for was, now in zip(before.pop("buffers"), after.pop("buffers"), strict=True):
        assert torch.equal(was, now)
    assert before == after


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("stem", "text"), [(True, False), (False, True)])
def test_the_caller_and_the_parameters_make_no_difference(build, image, method, stem, text):
    net = build(stem=stem, text=text)
    wanted = METHODS[method](net, image)
    assert wanted.max() > 0
    with torch.no_grad():
        torch.testing.assert_close(METHODS[method](net, image), wanted)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        torch.testing.assert_close(METHODS[method](net, image), wanted)
        torch.testing.assert_close(METHODS[method](net, image * 1), wanted)  # an inference tensor
        assert torch.is_inference_mode_enabled()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(METHODS[method](net, image), wanted)
        assert torch.is_autocast_enabled("cpu")
    torch.testing.assert_close(METHODS[method](net, image.contiguous(memory_format=torch.channels_last)), wanted)
    net.requires_grad_(False)
    torch.testing.assert_close(METHODS[method](net, image), wanted)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was(build, image, method):
    net = build(trainable=["downscaler.*", "clip.vision.*"])
    wanted = METHODS[method](net, image)
    before = traces_left(net)
    METHODS[method](net, image)
    assert_untouched(net, before)
    net.train()
    net.downscaler.eval()  # a mixture of modes of the caller's own
    before = traces_left(net)
    assert len(set(before["modes"])) == 2
    torch.testing.assert_close(METHODS[method](net, image), wanted)  # dropout off, batch statistics fixed
    assert_untouched(net, before)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_left_as_it_was_after_an_error(build, method):
    net = build(stem=False).train()
    before = traces_left(net)
    with pytest.raises(ValueError, match="Input image size"):
        METHODS[method](net, torch.rand(1, 1, 140, 140))
    assert_untouched(net, before)
    assert torch.is_grad_enabled()


def test_a_saliency_map_amid_training_caches_no_prompts(build, image):
    net = build(text=True, trainable=["clip.text.*"]).train()
    METHODS["grad_cam"](net, image)
    net(image).sum().backward()
    assert net.clip.text.projection.weight.grad.abs().max() > 0


def test_the_attention_implementation_comes_back(build):
    model = build().clip.vision.model
    before = model.config._attn_implementation
    assert before != "eager"
    with contextlib.suppress(KeyError), eager_attention(model):
        assert model.config._attn_implementation == "eager"
        raise KeyError
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("method", METHODS)
def test_a_pretrained_tower_at_another_size(tmp_path, method):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    vision = CLIPVisionConfig(**sizes, patch_size=8, image_size=32, projection_dim=12)
    text = CLIPTextConfig(**sizes, vocab_size=50, projection_dim=12)
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=12)
    ).save_pretrained(tmp_path)
    clip = CLIPTowers(image_size=48, pretrained=str(tmp_path), with_text=False)
    sparse = {"num_layers": 1, "num_heads": 2, "feedforward": 16}
    net = PatchCLIP(["Mass"], Downscaler(196, 48, 4), clip, sparse=sparse).eval()
    torch.nn.init.normal_(net.prompt_embeddings)
    maps = METHODS[method](net, torch.rand(2, 1, 196, 196))
    assert maps.shape == (2, 1, 6, 6)
    assert maps.max() > 0
