"""The families of vision transformers beside CLIP that a tower can be made of, and what each calls its parts."""

from pathlib import Path
from typing import Any, NamedTuple

import transformers
from transformers import PreTrainedConfig

from bundle.networks.pixel_statistics import HALF, IMAGENET, PixelStatistics, statistics_of_folder


class Family(NamedTuple):
    """One family.

    Attributes:
        config: transformers' configuration.
        model: transformers' class of the vision model.
        final_norm: the model's name of its final LayerNorm.
        layers: path to the blocks.
        norm: a block's name of the LayerNorm before its attention.
        attention: a block's name of its attention.
        output: the attention's name of the matrix after the heads.
        scale: a block's name of what scales its attention's output; empty where nothing does.
        class_token: whether the first token stands for the image.
        rotary: whether positions rotate queries and keys, and are not added to tokens.
        interpolates: whether the model has to be told to interpolate its positions.
        pixels: what the family's models were trained with; None where they differ.
    """

    config: type[PreTrainedConfig]
    model: Any
    final_norm: str
    layers: str
    norm: str
    attention: str
    output: str = "o_proj"
    scale: str = ""
    class_token: bool = True
    rotary: bool = False
    interpolates: bool = False
    pixels: PixelStatistics | None = None

    def registers(self, config: Any) -> int:
        """Tokens between class token and patches."""
        return int(getattr(config, "num_register_tokens", 0))


_DINO: dict[str, Any] = {"norm": "norm1", "attention": "attention", "scale": "layer_scale1", "pixels": IMAGENET}

FAMILIES: dict[str, Family] = {
    "siglip_vision_model": Family(
        transformers.SiglipVisionConfig,
        transformers.SiglipVisionModel,
        "post_layernorm",
        "encoder.layers",
        "layer_norm1",
        "self_attn",
        output="out_proj",
        class_token=False,
        interpolates=True,
        pixels=HALF,
    ),
    "dinov2": Family(transformers.Dinov2Config, transformers.Dinov2Model, "layernorm", "encoder.layer", **_DINO),
    "dinov2_with_registers": Family(
        transformers.Dinov2WithRegistersConfig,
        transformers.Dinov2WithRegistersModel,
        "layernorm",
        "encoder.layer",
        **_DINO,
    ),
    "dinov3_vit": Family(
        transformers.DINOv3ViTConfig, transformers.DINOv3ViTModel, "norm", "model.layer", rotary=True, **_DINO
    ),
    "vit": Family(
        transformers.ViTConfig,
        transformers.ViTModel,
        "layernorm",
        "layers",
        "layernorm_before",
        "attention",
        interpolates=True,
    ),
}
"""model_type in config.json -> family."""

# a whole SigLIP: this family's vision model, and a text tower
SIGLIP, SIGLIP_VISION = "siglip", "siglip_vision_model"
NAMES = ("clip", SIGLIP, *FAMILIES)


def pixels_of(kind: str, folder: str | Path | None) -> PixelStatistics | None:
    """How pixels are normalised: of CLIP, None, which is CheXzero's; else what the folder says, or the family's.

    Args:
        kind: of `NAMES`.
        folder: with the weights; None for random ones.

    Raises:
        ValueError: neither is known.
    """
    if kind == "clip":
        return None
    family = FAMILIES[SIGLIP_VISION if kind == SIGLIP else kind]
    found = family.pixels if folder is None else statistics_of_folder(folder) or family.pixels
    if found is None:
        raise ValueError(
            f"'{folder or kind}': models of the family '{kind}' were trained with different pixels, and there is no "
            "preprocessor_config.json to say which. Copy it to the folder, or give `pixels` in `clip`: mean and std, "
            "each of three numbers for pixels 0..1."
        )
    return found
