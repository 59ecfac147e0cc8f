"""A published Patch-CLIP checkpoint becomes ours where every tensor is known, and is refused with a list where not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bundle.checkpoints import load_weights
from bundle.data.tokenizer import load_tokenizer
from bundle.networks import CLIPTowers, Downscaler, PatchCLIP
from bundle.networks.conversion.patch_clip_file import _heads, convert_patch_clip
from tests.networks.original_clip import SIZES, image_embedding, original_state


@pytest.fixture(scope="module")
def parts():
    """The parts beside CLIP, as torch's own modules: a downscaler whose convolutions have a bias, and so on."""
    torch.manual_seed(3)
    down = nn.Sequential(
        *(
            nn.Conv2d(1, 4, 5, 2, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 3, 5, 2, 1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
        )
    )
    for norm in (down[1], down[4]):
        for value in (norm.weight.data, norm.running_mean, norm.running_var):
            value.uniform_(0.5, 1.5)
    layer = nn.TransformerEncoderLayer(128, 4, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return down.eval(), nn.Linear(128, 16, bias=False), encoder


@pytest.fixture(scope="module")
def published(parts):
    down, projection, encoder = parts
    state = {f"local_clip.{name}": value for name, value in original_state().items()}
    state |= {f"conv_downsample.{name}": value for name, value in down.state_dict().items()}
    state |= {f"concept_proj.{name}": value for name, value in projection.state_dict().items()}
    state |= {f"sparsePatchEmbed.encoder.{name}": value for name, value in encoder.state_dict().items()}
    return state | {"sparsePatchEmbed.cls": torch.randn(1, 1, 128), "pool": torch.rand(16)}


def test_a_checkpoint_of_known_parts_becomes_ours(parts, published, tmp_path):
    torch.save(published, tmp_path / "best.pt")
    convert_patch_clip(tmp_path / "best.pt", tmp_path / "ours", "Effusion", in_size=260)
    folder = tmp_path / "ours"
    towers = CLIPTowers(64, str(folder / "clip"))
    sparse = {"feedforward": 32}
    network = PatchCLIP(["Effusion"], Downscaler(260, 64, 4), towers, load_tokenizer(folder / "clip"), sparse=sparse)
    load_weights(network.eval(), folder / "model.pt")
    down, projection, encoder = parts
    image = torch.rand(2, 1, 260, 260)
    with torch.no_grad():
        output = network(image, full=True)
        pixels = down((image - network.pixel_mean) / network.pixel_std)
        wanted = F.normalize(image_embedding(original_state(), pixels), dim=-1)
        assert torch.allclose(output["global_embedding"], wanted, atol=1e-5)
        tokens = network.clip.vision(pixels).patch_tokens
        patches = F.normalize(F.gelu(projection(tokens)), dim=-1)
        assert torch.allclose(output["patch_embedding"], patches, atol=1e-5)
        pooled = F.normalize(F.gelu(projection(F.gelu(torch.einsum("bpw,p->bw", tokens, published["pool"])))), dim=-1)
        assert torch.allclose(output["pooled_embedding"], pooled, atol=1e-5)
        chosen = torch.cat([published["sparsePatchEmbed.cls"].expand(2, 1, -1), tokens], 1)
        seen = network.sparse(tokens, torch.ones(2, 16, dtype=torch.bool))
        assert torch.allclose(seen, F.normalize(encoder.eval()(chosen)[:, 0], dim=-1), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra.weight": torch.ones(3)}, r"extra\.weight \(3,\) is not known"),
        ({"pool": None}, "16 weights of the patches, .*found none"),
        ({"pool2": torch.ones(16)}, "found pool, pool2; pool"),
        ({"concept_proj.bias": torch.ones(16)}, r"one matrix \(16, 128\) without bias, found concept_proj\.weight"),
        ({"concept_proj.weight": None}, r"without bias, found none"),
        ({"conv_downsample.4.running_mean": None}, r"for 4 -> 3 channels .* found conv_downsample\.3 and none"),
        ({"conv_downsample.6.weight": torch.ones(2)}, r"conv_downsample\.6\.weight is not known"),
        ({"sparsePatchEmbed.cls": None}, "one class token of 128 numbers, found none"),
        ({"sparsePatchEmbed.mlp.weight": torch.ones(2, 2)}, r"sparsePatchEmbed\.mlp\.weight \(2, 2\) is not known"),
    ],
)
def test_what_is_not_known_is_refused_with_a_list(published, change, said):
    state = {name: value for name, value in (published | change).items() if value is not None and "clip" not in name}
    with pytest.raises(ValueError, match=rf"here cannot be read as a published Patch-CLIP: .*{said}"):
        _heads(state, SIZES, "here")


def test_every_fault_is_in_one_message_and_nothing_is_left(published, tmp_path):
    state = {name: value for name, value in published.items() if "layers.1.norm2" not in name}
    torch.save(state, tmp_path / "best.pt")
    with pytest.raises(ValueError, match=r"missing: sparse\.encoder\.layers\.1\.norm2\.weight, sparse\..*norm2\.bias;"):
        convert_patch_clip(tmp_path / "best.pt", tmp_path / "ours", ["Effusion"], in_size=260)
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_a_bare_projection_is_turned_the_right_way(published):
    state = {name: value for name, value in published.items() if not name.startswith(("local_clip", "concept_proj"))}
    weight = published["concept_proj.weight"]
    made = _heads(state | {"concept_proj": weight.T}, SIZES, "here")
    assert torch.equal(made["projection.linear.weight"], weight)
