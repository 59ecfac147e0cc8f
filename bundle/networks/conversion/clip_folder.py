"""CLIP of OpenAI, CheXzero or open_clip -> the folder of transformers that `pretrained` takes."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from bundle.atomic import new_folder
from bundle.data.tokenizer import build_clip_tokenizer
from bundle.networks.conversion.clip_names import to_transformers
from bundle.networks.conversion.clip_sizes import ClipSizes, TowerSizes, sizes_of_open_clip, sizes_of_openai
from bundle.networks.conversion.state_file import read_state

logger = logging.getLogger(__name__)

_CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")


def convert_openai(weights: str | Path, output: str | Path) -> None:
    """A state dict of OpenAI's CLIP or of CheXzero (ViT-B/32, ViT-B/16, ViT-L/14) -> a folder for `pretrained`.

    Args:
        weights: file by `torch.save` of a state dict, or safetensors; float16 or float32.
        output: folder to make; it gets config.json, model.safetensors (float32) and CLIP's tokenizer.

    Raises:
        FileExistsError: `output` is there.
        FileNotFoundError: there are no weights.
        ValueError: it is another model, a part of one or not weights alone; the message lists what is wrong.
    """
    state, where = read_state(weights), str(weights)
    sizes = sizes_of_openai(state, where)
    write_clip(to_transformers(state, sizes, where), sizes, Path(output))


def convert_open_clip(weights: str | Path, output: str | Path, config: str | Path | None = None) -> None:
    """A model in open_clip's own format -> a folder for `pretrained`.

    Args:
        weights: folder with open_clip_config.json and the weights, as it comes from a hub; or a file of weights, such
            as a training's checkpoint.
        output: as for `convert_openai`.
        config: JSON that describes the model, beside a file of weights: the activation and the number of heads do not
            follow from the weights.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as `convert_openai`; also a model that is not built as OpenAI's.
    """
    path = Path(weights)
    if path.is_dir():
        config = path / _CONFIG if config is None else config
        found = [path / name for name in _WEIGHTS if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"No weights of open_clip in {path}; wanted one of {', '.join(_WEIGHTS)}.")
        path = found[0]
    elif config is None:
        raise ValueError(
            f"{path} is a file: say with --config which JSON describes the model (open_clip_config.json, or the "
            "model's file in open_clip's model_configs). Activation and heads do not follow from weights."
        )
    sizes = sizes_of_open_clip(_read_config(Path(config)), str(config))
    write_clip(to_transformers(read_state(path), sizes, str(path)), sizes, Path(output))


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"No configuration of open_clip at {path}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; wanted an object that describes a model.")
    return content


def clip_config(sizes: ClipSizes) -> CLIPConfig:
    """The config of transformers for these sizes."""
    ids = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    shared = {"projection_dim": sizes.embedding_dim, "hidden_act": sizes.activation}
    return CLIPConfig(
        projection_dim=sizes.embedding_dim,
        vision_config=CLIPVisionConfig(
            **_tower_fields(sizes.vision), **shared, image_size=sizes.image_size, patch_size=sizes.patch_size
        ).to_dict(),
        text_config=CLIPTextConfig(
            **_tower_fields(sizes.text),
            **shared,
            **ids,
            vocab_size=sizes.vocabulary,
            max_position_embeddings=sizes.context,
        ).to_dict(),
    )


def _tower_fields(tower: TowerSizes) -> dict[str, int]:
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.depth,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.hidden,
    }


def write_clip(made: dict[str, torch.Tensor], sizes: ClipSizes, output: Path) -> None:
    """Weights by transformers' names -> a folder with config.json, model.safetensors and CLIP's tokenizer.

    Args:
        made: all of the model's.
        sizes: the model's.
        output: folder to make.

    Raises:
        FileExistsError: `output` is there.
    """
    model = CLIPModel(clip_config(sizes))
    model.load_state_dict(made)  # strict: the pieces are the model
    with new_folder(output) as folder:
        model.save_pretrained(folder)
        build_clip_tokenizer().save_pretrained(folder)
    logger.info("%s: CLIP of %s, %s.", output, sizes, sizes.activation)
