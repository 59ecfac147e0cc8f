"""The configs of a packaged bundle: what a training's configuration becomes when it stands alone."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from bundle.frozen_plan import PLAN, PlanError, plan_of_weights, shown_points
from bundle.made_for import differing, made_for
from bundle.metrics.records_io import records_made_for
from bundle.networks.architecture import architecture_of_folder

logger = logging.getLogger(__name__)

Config = dict[str, Any]

# what inference.json shares with train.json, by name
SHARED = (
    *("findings", "reading", "image_size", "tower_size", "hidden_channels", "sparse", "image_score"),
    *("patch_factor", "patch_prior", "candidates"),
)
SHARED_IF_THERE = ("downscaler_strides", "local_normalisation", "notice", "algorithm_name", "algorithm_version")
FIGURES = ("auroc/mean", "froc/mean/sens_at_1fp", "froc/mean/score", "wafroc/mean")
# what of a network inference does not need: the prompts' embeddings lie with the weights
TRAINING_ONLY = ("tokenizer", "prompts", "trainable", "texts", "init_projection_from_clip", "separate_prompts")


def packaged_configs(parser: ConfigParser, root: Path) -> dict[str, Config]:
    """inference.json, train.json, evaluate.json and metadata.json of a package, by name.

    inference.json gets the architecture in it; train.json is the overlays merged, with folders of its own;
    evaluate.json judges inference's network, since the package's weights have no text tower; metadata.json has the
    shapes, findings and measured figures of this experiment.

    Args:
        parser: the training's configuration, parsed.
        root: the repository, whose configs the rest is taken from.
    """
    inference = _read(root / "configs" / "inference.json")
    inference.update({key: _resolved(parser, parser.get(key)) for key in SHARED})
    inference["reading"] |= {"flat": "note"}  # training refuses what shows nothing; who looks at it is told
    inference.update({key: parser[key] for key in SHARED_IF_THERE if key in parser})
    inference |= _frozen(parser)
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
        "canvas_cache": parser["canvas_cache"] | {"folder": None},
    }
    if "on_bad_image" in training:
        training["on_bad_image"] = "raise"  # a choice for the data that were learnt from
    without_text = {key: inference[key] for key in ("clip", "network_def", "candidates")}
    return {
        "inference.json": inference,
        "train.json": training,
        "evaluate.json": _read(root / "configs" / "evaluate.json") | without_text,
        "metadata.json": _metadata(_read(root / "configs" / "metadata.json"), inference, parser),
    }


def _frozen(parser: ConfigParser) -> Config:
    """What validation froze for these weights: how maps become candidates, calibration and thresholds.

    Without a plan for them the package is uncalibrated, and the log says why.
    """
    folder, weights, findings = (parser.get_parsed_content(key) for key in ("ckpt_dir", "ckpt_path", "findings"))
    try:
        score = _resolved(parser, parser.get("image_score"))
        plan = plan_of_weights(Path(folder) / PLAN, Path(weights), findings, score)
    except PlanError as error:
        logger.warning("The package is uncalibrated, and its thresholds are .5. %s", error)
        return {}
    return {"candidates": plan["candidates"], "points": shown_points(plan["points"])}


def _clip_without_text(parser: ConfigParser) -> Config:
    """The vision tower's sizes, from the configuration or from the pretrained folder's."""
    clip: Config = _resolved(parser, parser.get("clip"))
    pretrained = parser.get_parsed_content("pretrained")
    if pretrained is not None:
        if (encoder := clip.get("text_encoder")) is not None:  # its size is the joint embedding's
            clip["projection_dim"] = encoder["embedding_dim"]
        clip |= architecture_of_folder(pretrained, clip.get("pixels"))
    clip.pop("checkpointing", None)
    return {**clip, "pretrained": None, "text": None, "text_encoder": None}


def _metadata(metadata: Config, inference: Mapping[str, Any], parser: ConfigParser) -> Config:
    side, findings = inference["image_size"], inference["findings"]
    grid = inference["tower_size"] // inference["clip"]["vision"]["patch_size"] * inference["patch_factor"]
    formats = metadata["network_data_format"]
    formats["inputs"]["image"]["spatial_shape"] = [side, side]
    formats["outputs"]["pred"] |= {
        "num_channels": len(findings),
        "spatial_shape": [grid, grid],
        "channel_def": {str(i): name for i, name in enumerate(findings)},
    }
    metadata.pop("eval_metrics", None)  # of the repository's own experiment
    if figures := _own_figures(parser):
        metadata["eval_metrics"] = {key: figures[key] for key in FIGURES if key in figures}
    return metadata


def _own_figures(parser: ConfigParser) -> Config:
    """What the evaluation in the output folder measured; empty where there is none, or it judged something else."""
    folder = Path(parser.get_parsed_content("output_dir"))
    if not (folder / "metrics.json").is_file():
        return {}
    try:
        judged_on = made_for(*(parser.get_parsed_content(key) for key in ("datalist", "test_section", "findings")))
        other = differing(records_made_for(folder / "records"), judged_on)
    except (OSError, ValueError) as error:
        other = str(error)
    if other:
        logger.warning(
            "The figures in %s are left out of metadata.json: they are of something else, %s.", folder, other
        )
        return {}
    return _read(folder / "metrics.json")


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


def _read(path: Path) -> Config:
    content: Config = json.loads(path.read_text(encoding="utf-8"))
    return content
