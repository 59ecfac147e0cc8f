"""What makes towers of the same shape as a folder's, without the folder."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import CLIPConfig, PreTrainedConfig, SiglipConfig

from bundle.networks.any_tower import square
from bundle.networks.pretrained import model_type
from bundle.networks.vision_families import FAMILIES, SIGLIP, pixels_of

_CLIP = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size")
_CLIP_TOO = ("hidden_act", "layer_norm_eps", "image_size")


def architecture_of_folder(folder: str | Path, pixels: dict[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of `CLIPTowers` that make a vision tower of the same shape, of random weights.

    Args:
        folder: as `pretrained` takes it.
        pixels: as `CLIPTowers` takes them, in place of the folder's.

    Returns:
        `vision`; of CLIP also `projection_dim`; of others also `pixels`, which then no longer come from the folder.

    Raises:
        FileNotFoundError, ValueError: there is no such folder, or another model in it.
    """
    kind = model_type(folder)
    if kind == CLIPConfig.model_type:
        clip = CLIPConfig.from_pretrained(folder, local_files_only=True)
        vision = {key: getattr(clip.vision_config, key) for key in (*_CLIP, *_CLIP_TOO)}
        return {"vision": vision, "projection_dim": clip.projection_dim}
    if kind == SIGLIP:
        config = SiglipConfig.from_pretrained(folder, local_files_only=True).vision_config
    elif kind in FAMILIES:
        config = FAMILIES[kind].config.from_pretrained(folder, local_files_only=True)
    else:
        raise ValueError(f"'{folder}' holds a '{kind}'; no vision tower can be made of it.")
    if pixels is None and (found := pixels_of(kind, folder)) is not None:
        pixels = {"mean": list(found.mean), "std": list(found.std)}
    return {"vision": {"model_type": kind, **_own_fields(config)}, "pixels": pixels}


def _own_fields(config: PreTrainedConfig) -> dict[str, Any]:
    """The fields of a family's own, without those that every model of the library has."""
    names = {field.name for field in fields(config)} - {field.name for field in fields(PreTrainedConfig)}
    values = {name: getattr(config, name) for name in sorted(names) if not name.startswith("_")}
    sizes = ("image_size", "patch_size")
    return {name: square(name, value) if name in sizes else value for name, value in values.items()}
