"""The sizes of a CLIP: what its weights say of them, and what open_clip's config says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

Activation = Literal["quick_gelu", "gelu"]

VOCABULARY = 49_408  # of CLIP's tokenizer; of another, it is not known which tokens end a text
HEAD_WIDTH = 64  # of all of OpenAI's models; weights do not say it
DEPTHS = {768: 12, 1024: 24}  # blocks of OpenAI's vision towers (ViT-B, ViT-L) by their width


@dataclass(frozen=True)
class TowerSizes:
    """One transformer.

    Attributes:
        width: of a token.
        depth: number of blocks.
        heads: of a block.
        hidden: inner width of a block's MLP.
    """

    width: int
    depth: int
    heads: int
    hidden: int


@dataclass(frozen=True)
class ClipSizes:
    """All that CLIP's config says.

    Attributes:
        vision: W and so on.
        text: H and so on.
        embedding_dim: D.
        patch_size: side of a patch in pixels.
        image_size: side of the input in pixels.
        vocabulary: entries.
        context: tokens of a text.
        activation: of the MLPs.
    """

    vision: TowerSizes
    text: TowerSizes
    embedding_dim: int
    patch_size: int
    image_size: int
    vocabulary: int
    context: int
    activation: Activation

    @property
    def num_patches(self) -> int:
        """Of an image."""
        return (self.image_size // self.patch_size) ** 2

    def checked(self, where: str) -> "ClipSizes":
        """Itself.

        Args:
            where: the file, for the message.

        Raises:
            ValueError: sizes that make no CLIP, or a vocabulary that is not CLIP's.
        """
        if self.vocabulary != VOCABULARY:
            raise ValueError(
                f"{where}: the vocabulary has {self.vocabulary} entries, CLIP's has {VOCABULARY}: it is another "
                "tokenizer's, and which of its tokens ends a text is not known."
            )
        for name, tower in (("vision", self.vision), ("text", self.text)):
            if not tower.depth or not tower.heads or tower.width % tower.heads:
                raise ValueError(
                    f"{where}: the {name} tower has {tower.depth} blocks of width {tower.width} with {tower.heads} "
                    "heads; wanted at least one block, and heads that divide the width."
                )
        return self

    def __str__(self) -> str:
        return (
            f"{self.vision.depth} vision blocks of width {self.vision.width}, {self.image_size} px in patches of "
            f"{self.patch_size}, {self.text.depth} text blocks of width {self.text.width}, D {self.embedding_dim}"
        )


def sizes_of_openai(state: Mapping[str, torch.Tensor], where: str) -> ClipSizes:
    """The sizes that weights by OpenAI's names have; the activation is OpenAI's QuickGELU.

    Args:
        state: weights by name.
        where: the file, for messages.

    Raises:
        ValueError: a ResNet's weights; a tensor that says the sizes is missing or has another number of axes; patches
            that make no square; a width that is no multiple of 64; or fewer blocks than the known models of the width.
    """
    if "visual.layer1.0.conv1.weight" in state:
        raise ValueError(f"{where} is CLIP with a ResNet; wanted one with a ViT (ViT-B/32, ViT-B/16, ViT-L/14).")
    told = {"visual.conv1.weight": 4, "visual.positional_embedding": 2, "visual.proj": 2}
    told |= {"token_embedding.weight": 2, "positional_embedding": 2}
    if lacking := [
        f"{name} ({axes} axes)" for name, axes in told.items() if name not in state or state[name].ndim != axes
    ]:
        raise ValueError(
            f"{where} is no CLIP by OpenAI's names: it lacks {', '.join(lacking)}. It has, among others, "
            f"{', '.join(sorted(state)[:5])}."
        )
    width, _, _, patch = state["visual.conv1.weight"].shape
    (vocabulary, text_width), context = state["token_embedding.weight"].shape, len(state["positional_embedding"])
    places = len(state["visual.positional_embedding"]) - 1
    side = math.isqrt(max(places, 0))
    if side == 0 or side * side != places:
        raise ValueError(f"{where}: visual.positional_embedding has {places} patches, which make no square image.")
    if uneven := [size for size in (width, text_width) if size % HEAD_WIDTH]:
        raise ValueError(
            f"{where}: a tower's width is {uneven[0]}. OpenAI's have heads of width {HEAD_WIDTH}, which does not "
            "divide it; how many heads this model has, its weights do not say."
        )
    vision = _tower(state, "visual.transformer.resblocks.", width)
    if vision.depth < DEPTHS.get(width, 0):
        raise ValueError(
            f"{where}: a vision tower of width {width} has {DEPTHS[width]} blocks; the file has {vision.depth}."
        )
    return ClipSizes(
        vision=vision,
        text=_tower(state, "transformer.resblocks.", text_width),
        embedding_dim=state["visual.proj"].shape[1],
        patch_size=patch,
        image_size=patch * side,
        vocabulary=vocabulary,
        context=context,
        activation="quick_gelu",
    ).checked(where)


def _tower(state: Mapping[str, torch.Tensor], beginning: str, width: int) -> TowerSizes:
    numbers = [name.removeprefix(beginning).split(".")[0] for name in state if name.startswith(beginning)]
    depth = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
    return TowerSizes(width, depth, width // HEAD_WIDTH, 4 * width)


_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale"}
_VISION = {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "patch_dropout"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
# what says nothing about the weights, or says what OpenAI's CLIP does anyway
_SAME = {"hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs", "output_tokens", "output_dict", "cast_dtype"}
_DEFAULTS: dict[str, Any] = {"pool_type": ("tok", "argmax"), "proj_type": ("linear",), "pos_embed_type": ("learnable",)}


def sizes_of_open_clip(config: Mapping[str, Any], where: str) -> ClipSizes:
    """The sizes in open_clip's config: the `model_cfg` of open_clip_config.json, or a model's own JSON.

    Args:
        config: parsed.
        where: the file, for messages.

    Raises:
        ValueError: a field that makes another model than OpenAI's CLIP, such as a tower of timm or Hugging Face; all
            are named. Or sizes that are missing or no numbers.
    """
    model = config.get("model_cfg", config)
    vision, text = (dict(model.get(part) or {}) for part in ("vision_cfg", "text_cfg"))
    other = [*_other(model, _TOP), *(f"vision_cfg.{f}" for f in _other(vision, _VISION))]
    other += [f"text_cfg.{f}" for f in _other(text, _TEXT)]
    if other:
        raise ValueError(
            f"{where} describes another model than OpenAI's CLIP, which alone can be converted: {', '.join(other)}. "
            "Look whether the model is there in transformers' format too."
        )
    needed = {"embed_dim": model, "width": vision, "layers": vision, "patch_size": vision, "image_size": vision}
    if lacking := [name for name, part in needed.items() if not isinstance(part.get(name), int)]:
        raise ValueError(f"{where} does not say, as a whole number: {', '.join(lacking)}.")
    width, text_width = vision["width"], text.get("width", 512)  # the defaults are open_clip's
    head_width = vision.get("head_width", HEAD_WIDTH)
    if width % head_width:
        raise ValueError(f"{where}: heads of width {head_width} do not divide the vision tower's width, {width}.")
    return ClipSizes(
        vision=TowerSizes(
            width,
            vision["layers"],
            width // head_width,
            int(width * vision.get("mlp_ratio", 4)),
        ),
        text=TowerSizes(
            text_width, text.get("layers", 12), text.get("heads", 8), int(text_width * text.get("mlp_ratio", 4))
        ),
        embedding_dim=model["embed_dim"],
        patch_size=vision["patch_size"],
        image_size=vision["image_size"],
        vocabulary=text.get("vocab_size", VOCABULARY),
        context=text.get("context_length", 77),
        activation="quick_gelu" if model.get("quick_gelu", False) else "gelu",
    ).checked(where)


def _other(part: Mapping[str, Any], known: set[str]) -> list[str]:
    """Fields that change the model; those that are off, empty or the usual do not."""
    return [
        f"{name} {value!r}"
        for name, value in part.items()
        if name not in known | _SAME and value and value not in _DEFAULTS.get(name, ())
    ]
