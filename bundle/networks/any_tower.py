"""A vision tower of any family of `FAMILIES`."""

import logging
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bundle.networks.config_fields import config_fields
from bundle.networks.pretrained import load_pretrained
from bundle.networks.vision_encoder import Blocks, VisionEncoder, VisionFeatures, grid_of
from bundle.networks.vision_families import FAMILIES, Family

logger = logging.getLogger(__name__)

# parts of a folder that a tower has no use for: a pooler on top, and the token of masked pretraining
UNUSED = ("pooler.", "embeddings.mask_token")


class AnyVisionTower(VisionEncoder):
    """SigLIP, DINOv2, DINOv3 or ViT as vision tower.

    Patch tokens are the last block's output before the final LayerNorm, or its values. The global embedding is
    projected from the class token after it or, of SigLIP, which has none, from what its attention pooling makes of all
    tokens after it; SigLIP's "class token" is the mean of its last block's output. Positions are interpolated where
    `image_size` is another than the model's, and the log says so. DINOv3's positions rotate queries and keys:
    `patch_positions` are zeros.

    Args:
        family: of the model.
        model: the transformer; its final LayerNorm and pooling become this tower's.
        projection: W -> D.
        image_size: side of the input in pixels.

    Raises:
        ValueError: `image_size` is not a multiple of the patch size; patches or channels that are no square or not 3; a
            SigLIP without attention pooling.
    """

    def __init__(self, family: Family, model: Any, projection: nn.Linear, image_size: int) -> None:
        super().__init__()
        self._family, config = family, model.config
        trained = square("image_size", config.image_size)
        self.image_size, self.width = image_size, config.hidden_size
        self.grid = grid_of(image_size, square("patch_size", config.patch_size))
        if config.num_channels != 3:
            raise ValueError(f"The '{config.model_type}' takes images of {config.num_channels} channels; wanted 3.")
        self.model, self.projection = model, projection
        self.norm = getattr(model, family.final_norm)
        setattr(model, family.final_norm, nn.Identity())
        self.pooling: nn.Module | None = None
        if not family.class_token:
            if not getattr(model, "use_head", False):
                raise ValueError(
                    f"The '{config.model_type}' has no attention pooling (vision_use_head is false): nothing in it "
                    "stands for the image."
                )
            self.pooling, model.use_head = model.head, False
            del model.head
        for name in ("pooler", "embeddings.mask_token"):  # else parameters without a gradient
            owner, _, last = name.rpartition(".")
            if getattr(model.get_submodule(owner), last, None) is not None:
                setattr(model.get_submodule(owner), last, None)
        self._others = int(family.class_token) + family.registers(config)
        self._interpolate = image_size != trained
        if self._interpolate and not family.rotary:
            side = trained // square("patch_size", config.patch_size)
            logger.info(
                "Positions of the '%s' are interpolated from %dx%d patches (%d px) to %dx%d (%d px).",
                *(config.model_type, side, side, trained, *self.grid, image_size),
            )

    def forward(self, pixels: torch.Tensor) -> VisionFeatures:
        """(B, 3, S, S) -> (B, D), (B, P, W) and (B, W)."""
        told = {"interpolate_pos_encoding": self._interpolate} if self._family.interpolates else {}
        with self._normalised() as normalised:
            tokens = self.model(pixel_values=pixels, **told).last_hidden_state  # (B, others + P, W)
        patches = self._patches(tokens, normalised)
        if self.pooling is not None:
            return VisionFeatures(self.projection(self.pooling(self.norm(tokens))), patches, tokens.mean(1))
        return VisionFeatures(self.as_global(tokens[:, 0]), patches, tokens[:, 0])

    def patch_positions(self) -> torch.Tensor:
        """The positional embedding of each patch: (P, W); zeros of a family whose positions rotate."""
        count, embeddings = self.grid[0] * self.grid[1], self.model.embeddings
        if self._family.rotary:
            return self.norm.weight.new_zeros(count, self.width)
        first = int(self._family.class_token)
        if not self._interpolate:
            table = getattr(embeddings, "position_embeddings", None)  # (1, first + P, W)
            return embeddings.position_embedding.weight if table is None else table[0, first:]
        blank = self.norm.weight.new_zeros(1, first + count, self.width)
        return embeddings.interpolate_pos_encoding(blank, self.image_size, self.image_size)[0, first:]

    def as_global(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (..., W) -> (..., D), each judged as if it were the class token.

        Raises:
            ValueError: the tower has no class token.
        """
        if self.pooling is not None:
            raise ValueError(
                f"The '{self.model.config.model_type}' has no class token: what stands for an image is pooled from all "
                "its patches, and no patch can be judged in its place."
            )
        return self.projection(self.norm(tokens))

    @property
    def blocks(self) -> Blocks:
        """Where saliency methods look."""
        family = self._family
        layers = reduce(getattr, family.layers.split("."), self.model)
        place = (family.norm, family.attention, family.output, family.scale)
        return Blocks(layers, *place, self.model.embeddings, self._others)


def random_tower(kind: str, sizes: Mapping[str, Any], image_size: int) -> Any:
    """A vision model of random weights.

    Args:
        kind: of `FAMILIES`.
        sizes: fields of the family's configuration; its `image_size` is the tower's where it is not among them.
        image_size: side of the tower's input in pixels.

    Raises:
        ValueError: a key that is no field.
    """
    family = FAMILIES[kind]
    given = config_fields("CLIPTowers: vision", sizes, family.config)
    return family.model(family.config(**{"image_size": image_size, **given}))


def tower_from_folder(kind: str, folder: str | Path) -> Any:
    """A vision model with its weights, float32.

    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`.
    """
    return load_pretrained(FAMILIES[kind].model, folder, may_lack=UNUSED, heads=True)


def square(name: str, value: Any) -> int:
    """A size that a configuration may give as two numbers.

    Args:
        name: of the size, for the message.
        value: a number, or several.

    Raises:
        ValueError: the numbers differ.
    """
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1:
        raise ValueError(f"The vision tower's {name} is {value}; wanted a square.")
    return int(sides.pop())
