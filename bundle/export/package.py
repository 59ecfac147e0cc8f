"""A trained experiment as a self-contained MONAI bundle: its architecture flattened into inference.json."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from transformers import CLIPConfig

from bundle.atomic import atomic_path

# what inference.json shares with train.json, by name
SHARED = ("findings", "image_size", "tower_size", "hidden_channels", "sparse", "image_score", "candidates")
# what of a network inference does not need: the prompts' embeddings lie with the weights
TRAINING_ONLY = ("tokenizer", "prompts", "trainable", "texts", "init_projection_from_clip")


def package_bundle(config_files: Sequence[str | Path], root: Path, output: Path, bundle_root: str = ".") -> Path:
    """Write configs, weights, code, licence and model card of a trained experiment into `output`.

    `output/configs` gets inference.json with the architecture in it, train.json (the overlays merged), evaluate.json,
    metadata.json (shapes, findings and measured figures of this experiment) and logging.conf; `output/models/model.pt`
    the best weights; `output/bundle` the code.

    Args:
        config_files: the training's config and its overlays.
        root: the repository, from which inference.json, code, licence and model card are taken.
        output: folder to write; files in it are replaced.
        bundle_root: as the training was run with.

    Returns:
        `output`.

    Raises:
        FileNotFoundError: the training has left no weights.
    """
    parser = ConfigParser()
    parser.read_config([str(f) for f in config_files])
    parser["bundle_root"] = bundle_root
    parser.parse()
    weights = Path(parser.get_parsed_content("ckpt_path"))
    if not weights.is_file():
        raise FileNotFoundError(f"No weights at {weights}: run the training of {list(config_files)} first.")

    inference = _read(root / "configs" / "inference.json")
    inference.update({key: _resolved(parser, parser.get(key)) for key in SHARED})
    inference["clip"] = _clip_without_text(parser)
    inference["network_def"] |= {
        key: _resolved(parser, value)
        for key, value in parser.get("network_def").items()
        if key == "_target_" or key not in (*inference["network_def"], *TRAINING_ONLY)
    }
    training = {key: value for key, value in parser.get().items() if key != "_meta_"}
    training |= {
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "ckpt_dir": "$@bundle_root + '/models'",
        "init_checkpoint": None,
    }
    configs = {
        "inference.json": inference,
        "train.json": training,
        "evaluate.json": _read(root / "configs" / "evaluate.json"),
        "metadata.json": _metadata(_read(root / "configs" / "metadata.json"), inference, parser),
    }
    (output / "configs").mkdir(parents=True, exist_ok=True)
    (output / "models").mkdir(exist_ok=True)
    for name, content in configs.items():
        (output / "configs" / name).write_text(
            json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    shutil.copyfile(root / "configs" / "logging.conf", output / "configs" / "logging.conf")
    shutil.copyfile(root / "LICENSE", output / "LICENSE")
    (output / "docs").mkdir(exist_ok=True)
    shutil.copyfile(root / "docs" / "README.md", output / "docs" / "README.md")
    shutil.copytree(
        root / "bundle", output / "bundle", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    with atomic_path(output / "models" / "model.pt") as temporary:  # last: it says that the package is complete
        shutil.copyfile(weights, temporary)
    return output


def _clip_without_text(parser: ConfigParser) -> dict[str, Any]:
    """The vision tower's sizes, from the configuration or from the pretrained folder's."""
    clip: dict[str, Any] = _resolved(parser, parser.get("clip"))
    pretrained = parser.get_parsed_content("pretrained")
    if pretrained is not None:
        config = CLIPConfig.from_pretrained(pretrained)
        fields = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "patch_size")
        more = ("hidden_act", "layer_norm_eps", "image_size")
        clip["vision"] = {key: getattr(config.vision_config, key) for key in (*fields, *more)}
        clip["projection_dim"] = config.projection_dim
    return {**clip, "pretrained": None, "text": None, "text_encoder": None}


def _metadata(metadata: dict[str, Any], inference: Mapping[str, Any], parser: ConfigParser) -> dict[str, Any]:
    side, findings = inference["image_size"], inference["findings"]
    grid = inference["tower_size"] // inference["clip"]["vision"]["patch_size"]
    formats = metadata["network_data_format"]
    formats["inputs"]["image"]["spatial_shape"] = [side, side]
    formats["outputs"]["pred"] |= {
        "num_channels": len(findings),
        "spatial_shape": [grid, grid],
        "channel_def": {str(i): name for i, name in enumerate(findings)},
    }
    measured = Path(parser.get_parsed_content("output_dir")) / "metrics.json"
    if measured.is_file():
        figures = json.loads(measured.read_text(encoding="utf-8"))
        wanted = ("auroc/mean", "froc/mean/sens_at_1fp", "froc/mean/score", "wafroc/mean")
        metadata["eval_metrics"] = {key: figures[key] for key in wanted if key in figures}
    return metadata


def _resolved(parser: ConfigParser, value: Any) -> Any:
    """Replace references and expressions by what they stand for, all the way down."""
    if isinstance(value, dict):
        return {key: _resolved(parser, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(parser, item) for item in value]
    if isinstance(value, str) and value.startswith("@"):
        return _resolved(parser, parser.get(value[1:]))
    if isinstance(value, str) and value.startswith("$"):
        return ConfigParser({**parser.get(), "_value": value}).get_parsed_content("_value")
    return value


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
