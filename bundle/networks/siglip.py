"""SigLIP's two towers as transformers has them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import SiglipConfig, SiglipModel, SiglipTextConfig, SiglipVisionConfig

from bundle.networks.config_fields import config_fields
from bundle.networks.pretrained import load_pretrained

SMALLEST = {"hidden_size": 1, "num_hidden_layers": 0, "num_attention_heads": 1, "intermediate_size": 1}
"""Of the text tower of a model that is made for its vision tower alone."""


def load_siglip(folder: str, with_text: bool) -> Any:
    """A SiglipModel from a folder, float32.

    Args:
        folder: what `save_pretrained` wrote.
        with_text: False lets the text tower be missing.

    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`; also a text tower of another embedding than the vision's.
    """
    return _checked(load_pretrained(SiglipModel, folder, () if with_text else ("text_model.",)))


def random_siglip(vision: Mapping[str, Any], text: Mapping[str, Any] | None, image_size: int) -> Any:
    """A SiglipModel of random weights; without `text`, the smallest text tower.

    Args:
        vision: fields of transformers' SiglipVisionConfig.
        text: fields of its SiglipTextConfig, known to be some.
        image_size: side of the input in pixels, where `vision` does not say it.

    Raises:
        ValueError: a key that is no field.
    """
    vision = config_fields("CLIPTowers: vision", vision, SiglipVisionConfig)
    text = SMALLEST if text is None else text
    width = vision.get("hidden_size", SiglipVisionConfig().hidden_size)
    text_config = SiglipTextConfig(**{"projection_size": width, **text})  # the joint embedding is the vision tower's
    config = SiglipConfig(
        vision_config=SiglipVisionConfig(**{"image_size": image_size, **vision}).to_dict(),
        text_config=text_config.to_dict(),
    )
    return _checked(SiglipModel(config))


def identity(width: int) -> nn.Linear:
    """A projection that changes nothing until it is trained: SigLIP has none."""
    projection = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        projection.weight.copy_(torch.eye(width))
    return projection


def _checked(model: Any) -> Any:
    text, vision = model.config.text_config.projection_size, model.config.vision_config.hidden_size
    if text != vision:
        raise ValueError(f"SigLIP's text tower ends in {text} numbers, its vision tower in {vision}: they do not meet.")
    return model
