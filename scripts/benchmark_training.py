"""A training step, its loss, its parts, and inference (`python -m scripts.benchmark step loss growth zero_shot`).

Weights, images and boxes are random.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from torch.nn.functional import cross_entropy, normalize, one_hot
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from bundle.losses import PatchCLIPLoss
from bundle.networks import PatchCLIP
from bundle.networks.clip import VisionFeatures
from bundle.precision import Precision
from scripts.benchmark_rows import Row, benchmark, turns

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
FINDINGS: list[str] = ConfigParser.load_config_file(CONFIGS / "inference.json")["findings"]
CPU, PRECISION = torch.device("cpu"), Precision()
PADDED = 500  # numbers of boxed patches that the published loop looks at, of every image


class Tower(NamedTuple):
    """A vision tower: side of its input, which a canvas of 4 times that and 4 more leads to, and its fields."""

    side: int
    width: int
    layers: int
    heads: int
    patch: int
    dim: int

    def fields(self) -> dict[str, int]:
        """Of transformers' CLIPVisionConfig."""
        sizes = {"hidden_size": self.width, "intermediate_size": 4 * self.width, "num_hidden_layers": self.layers}
        return {**sizes, "num_attention_heads": self.heads, "patch_size": self.patch}


TOWERS = {
    "ViT-B/32": Tower(224, 768, 12, 12, 32, 512),
    "ViT-L/14": Tower(224, 1024, 24, 16, 14, 768),
    "tiny": Tower(32, 32, 1, 2, 8, 16),
}


def network_of(tower: Tower, findings: int = len(FINDINGS), **changes: Any) -> PatchCLIP:
    """The default network with another tower, training what train.json trains."""
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.json"))
    trainable = ConfigParser.load_config_file(CONFIGS / "train.json")["trainable"]
    parser.update({"image_size": 4 * tower.side + 4, "tower_size": tower.side, "findings": FINDINGS[:findings]})
    parser.update({"clip#vision": tower.fields(), "clip#projection_dim": tower.dim, "network_def#trainable": trainable})
    parser.update(changes)
    torch.manual_seed(0)
    network: PatchCLIP = parser.get_parsed_content("network")
    network.prompt_embeddings.copy_(normalize(torch.randn_like(network.prompt_embeddings), dim=-1))
    return network.train()


def truth(batch: int, network: PatchCLIP) -> dict[str, torch.Tensor]:
    """One finding in every second image, in a box of a fifth of the grid's sides, not in patch 0; all is known."""
    k, (rows, columns) = len(network.findings), network.grid
    label = one_hot(torch.arange(batch) // 2 % k, k) * (torch.arange(batch) % 2 == 0)[:, None]
    inside = torch.zeros(rows, columns, dtype=torch.bool)
    inside[1 : 1 + max(1, rows // 5), 1 : 1 + max(1, columns // 5)] = True
    mask = inside & (label == 1)[..., None, None]
    return {"label": label.float(), "patch_mask": mask, "boxed": torch.ones(batch, k, dtype=torch.bool)}


def published_loss(output: Mapping[str, torch.Tensor], label: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """One finding's L, image by image and patch by patch.

    "No finding" is said of every patch, and taken back for those whose numbers stand in a list; 0 fills the list.

    Args:
        output: `global_logits`, `pooled_logits`, `sparse_logits` (B, 1, 2), `patch_logits` (B, 1, P, 2).
        label: (B,).
        numbers: (B, `PADDED`).
    """
    total, sides = torch.zeros(()), torch.tensor([[0], [1]])
    for image in range(len(label)):
        for name, weight in (("global", 1.0), ("pooled", 1.0), ("sparse", 0.5)):
            total = total + weight * cross_entropy(output[f"{name}_logits"][image], sides[int(label[image])])
        patches = output["patch_logits"][image]
        for patch in range(patches.shape[1]):
            total = total + cross_entropy(patches[:, patch], sides[0])
        for number in numbers[image]:
            if number != 0:
                one = patches[:, number]
                total = total + cross_entropy(one, sides[1]) - cross_entropy(one, sides[0])
    return total / len(label)


def padded_numbers(mask: torch.Tensor) -> torch.Tensor:
    """(B, 1, Gh, Gw) -> (B, `PADDED`) numbers of the boxed patches."""
    numbers = torch.zeros(len(mask), PADDED, dtype=torch.long)
    for row, inside in zip(numbers, mask.flatten(1), strict=True):
        found = inside.nonzero().flatten()
        row[: len(found)] = found
    return numbers


@benchmark("loss.against_published", batch=2, patches=9, repeats=1)
def loss_against_published(batch: int = 32, patches: int = 49, repeats: int = 3) -> list[Row]:
    """Values and gradients of one finding's loss; both ways must agree before they are timed."""
    torch.manual_seed(0)
    names = {"global": (batch, 1, 2), "pooled": (batch, 1, 2), "sparse": (batch, 1, 2), "patch": (batch, 1, patches, 2)}
    logits = {f"{name}_logits": torch.randn(shape, requires_grad=True) for name, shape in names.items()}
    mask = torch.rand(batch, 1, patches, 1) < 0.1
    mask[:, :, 0] = False  # the loop cannot say that of patch 0
    label, numbers = mask.flatten(1).any(1, keepdim=True).float(), padded_numbers(mask)
    target = {"label": label, "patch_mask": mask, "boxed": torch.ones(batch, 1, dtype=torch.bool)}
    more = {"sparse_valid": torch.ones(batch, 1, dtype=torch.bool), "scores": {"image": torch.full((batch, 1), 0.5)}}
    loss = PatchCLIPLoss(image_weight=0, patch_reduction="sum")

    def ours() -> torch.Tensor:
        return loss({**logits, **more}, target)["loss"]

    torch.testing.assert_close(ours(), published_loss(logits, label[:, 0], numbers), rtol=1e-5, atol=0)
    calls = {"ours": lambda: ours().backward(), "loop": lambda: published_loss(logits, label[:, 0], numbers).backward()}
    took = turns(calls, repeats)
    what = f"loss and gradients of one finding, {batch} images of {patches} patches, against the published loops"
    return [Row("loss.against_published", what, (took["ours"] * 1e3, took["loop"] * 1e3), "ms", "as fast")]


class Step:
    """A fine-tuning step of a network, whole or in part, with train.json's precision."""

    def __init__(self, network: PatchCLIP, batch: int, device: torch.device = CPU) -> None:
        self.network, self.device, side = network.to(device), device, network.downscaler.in_size
        self.image = PRECISION.layout(torch.rand(batch, 1, side, side, device=device))
        self.target = {name: value.to(device) for name, value in truth(batch, network).items()}
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1e-5, momentum=0.9)
        self.of = f"{batch} images of {side} px, {network.grid[0] * network.grid[1]} patches, {number_format(device)}"

    def whole(self) -> None:
        """As a training makes it."""
        self.made(lambda: PatchCLIPLoss()(self.output(), self.target)["loss"])

    def bare(self) -> None:
        """Of downscaler and vision tower alone."""

        def value() -> torch.Tensor:
            features = self.network.features(self.image)
            return features.global_embedding.float().mean() + features.patch_tokens.float().mean()

        self.made(value)

    def output(self) -> dict[str, Any]:
        """The network's."""
        return self.network(self.image, patch_mask=self.target["patch_mask"], full=True)

    def made(self, value: Callable[[], torch.Tensor]) -> None:
        """A step of what is given."""
        self.optimizer.zero_grad()
        with PRECISION.context(self.device):
            loss = value()
        loss.backward()
        self.optimizer.step()


def number_format(device: torch.device = CPU) -> str:
    """In which a device's steps compute."""
    return "bfloat16" if PRECISION.uses_bfloat16(device) else "float32"


def against_bare_tower(name: str, tower: str, batch: int, repeats: int) -> list[Row]:
    """A step of a tower."""
    step = Step(network_of(TOWERS[tower]), batch)
    took = turns({"whole": step.whole, "bare": step.bare}, repeats)
    what = f"fine-tuning step, {tower}, {step.of}, against downscaler and vision tower alone"
    return [Row(name, what, (took["whole"], took["bare"]), "s", wanted=("at most", 1.1))]


@benchmark("step.against_bare_tower", batch=2, repeats=1, tower="tiny")
def step_against_bare_tower(batch: int = 2, repeats: int = 5, tower: str = "ViT-B/32") -> list[Row]:
    """What heads and losses add to a step."""
    return against_bare_tower("step.against_bare_tower", tower, batch, repeats)


@benchmark("step.against_bare_large_tower", needs="4 GB of memory", batch=2, repeats=1, tower="tiny")
def step_against_bare_large_tower(batch: int = 2, repeats: int = 3, tower: str = "ViT-L/14") -> list[Row]:
    """The same of the default network."""
    return against_bare_tower("step.against_bare_large_tower", tower, batch, repeats)


@benchmark("step.against_published", batch=2, repeats=1, tower="tiny")
def step_against_published(batch: int = 2, repeats: int = 3, tower: str = "ViT-B/32") -> list[Row]:
    """All findings at once against one: the text tower run every step, the loss in loops."""
    network, of_one = network_of(TOWERS[tower]), network_of(TOWERS[tower], 1)
    of_one.downscaler, of_one.clip = network.downscaler, network.clip  # once in memory
    step, single = Step(network, batch), Step(of_one, batch)
    sizes = {} if tower != "tiny" else {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    text = CLIPTextModel(CLIPTextConfig(**sizes)).eval().requires_grad_(False)
    label, numbers = single.target["label"][:, 0], padded_numbers(single.target["patch_mask"])
    words = torch.randint(1000, 40_000, (2, 77))

    def loss() -> torch.Tensor:
        text(words)
        return published_loss(single.output(), label, numbers)

    took = turns({"ours": step.whole, "published": partial(single.made, loss)}, repeats)
    what = f"fine-tuning step of {len(FINDINGS)} findings at once, {tower}, {step.of}, against a published one's of one"
    return [Row("step.against_published", what, (took["ours"], took["published"]), "s")]


@benchmark("step.share_of_heads", batch=2, tower_batch=1, side=4, width=32, repeats=1)
def step_share_of_heads(
    batch: int = 8, tower_batch: int = 2, side: int = 32, width: int = 1024, repeats: int = 3
) -> list[Row]:
    """Heads and losses on given tokens against ViT-L's 24 blocks, of which one is run, frozen, gradients going through.

    Both grow with the images alike (growth.batch), so they need not be as many as in a step.
    """
    layers, fields = 24, Tower(14 * side, width, 1, max(1, width // 64), 14, width).fields()
    block = CLIPVisionModel(CLIPVisionConfig(**fields, image_size=14 * side)).encoder.train().requires_grad_(False)
    tokens = torch.randn(tower_batch, side * side + 1, width, requires_grad=True)

    def one_block() -> None:
        with PRECISION.context(CPU):
            value = block(inputs_embeds=tokens).last_hidden_state
        value.float().mean().backward()

    took = turns({"heads": heads_pass(batch, side, 8, width, width * 3 // 4), "block": one_block}, repeats)
    each = took["heads"] / batch * 1e3, layers * took["block"] / tower_batch * 1e3
    what = (
        f"heads, losses and gradients, 8 findings, {side * side} patches, width {width}, an image of {batch}, against "
        f"{layers} times one block of the tower, an image of {tower_batch}; {number_format()}"
    )
    return [Row("step.share_of_heads", what, each, "ms", wanted=("at most", 0.05))]


def heads_pass(batch: int, side: int, k: int, width: int, dim: int) -> Callable[[], None]:
    """A pass of heads and loss, forward and backward, on random tokens of a grid."""
    network = network_of(Tower(14 * side, width, 1, max(1, width // 64), 14, dim), k, hidden_channels=1)
    target, loss = truth(batch, network), PatchCLIPLoss()
    tokens = torch.randn(batch, side * side, width, requires_grad=True)
    features = VisionFeatures(torch.randn(batch, dim, requires_grad=True), tokens, torch.randn(batch, width), ())

    def call() -> None:
        with PRECISION.context(CPU):
            output = network.read(features, network.projection(tokens), target["patch_mask"])
            value = loss(output, target)["loss"]
        value.backward()

    return call


def growth(name: str, small: tuple[int, int, int], large: tuple[int, int, int], width: int, repeats: int) -> list[Row]:
    """Heads, loss and gradients at (images, side of the grid, findings), against a fourth of one of these."""
    took = turns({"1": heads_pass(*small, width, width), "4": heads_pass(*large, width, width)}, repeats)
    first, last = (f"{b} images, {g * g} patches, {k} findings" for b, g, k in (small, large))
    what = f"heads, loss and gradients, width {width}, {last}, against {first}"
    return [Row(f"growth.{name}", what, (took["4"] * 1e3, took["1"] * 1e3), "ms", wanted=("at most", 4.0))]


@benchmark("growth.batch", batch=2, side=4, width=32, repeats=1)
def growth_batch(batch: int = 8, side: int = 16, width: int = 256, repeats: int = 5) -> list[Row]:
    """Four times the images of a batch."""
    return growth("batch", (batch, side, 8), (4 * batch, side, 8), width, repeats)


@benchmark("growth.patches", batch=2, side=4, width=32, repeats=1)
def growth_patches(batch: int = 8, side: int = 16, width: int = 256, repeats: int = 5) -> list[Row]:
    """Four times the patches."""
    return growth("patches", (batch, side, 8), (batch, 2 * side, 8), width, repeats)


@benchmark("growth.findings", batch=2, side=4, width=32, repeats=1)
def growth_findings(batch: int = 8, side: int = 16, width: int = 256, repeats: int = 5) -> list[Row]:
    """Four times the findings."""
    return growth("findings", (batch, side, 2), (batch, side, 8), width, repeats)


@benchmark("zero_shot.against_transformers", batch=2, repeats=1, tower="tiny")
def zero_shot_against_transformers(batch: int = 2, repeats: int = 5, tower: str = "ViT-B/32") -> list[Row]:
    """Maps and scores of canvases against transformers' CLIP of the same tower, which gives an image's scores alone."""
    sizes, network = TOWERS[tower], network_of(TOWERS[tower]).eval()
    text_config = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 64}
    vision_config = {**sizes.fields(), "image_size": sizes.side}
    clip = CLIPModel(CLIPConfig(vision_config=vision_config, text_config=text_config, projection_dim=sizes.dim)).eval()
    side, prompts = network.downscaler.in_size, network.prompt_embeddings
    canvas, small = torch.rand(batch, 1, side, side), torch.rand(batch, 3, sizes.side, sizes.side)

    @torch.inference_mode()
    def zero_shot() -> None:
        image = normalize(clip.visual_projection(clip.vision_model(small).pooler_output), dim=-1)
        (clip.logit_scale.exp() * torch.einsum("bd,ksd->bks", image, prompts)).softmax(-1)

    @torch.inference_mode()
    def ours() -> None:
        network(canvas, full=True)

    took = turns({"ours": ours, "clip": zero_shot}, repeats)
    what = f"maps and scores of {batch} images of {side} px against zero-shot CLIP {tower} of {sizes.side} px, float32"
    return [Row("zero_shot.against_transformers", what, (took["ours"], took["clip"]), "s")]
