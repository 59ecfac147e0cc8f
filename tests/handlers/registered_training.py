"""A tiny training by the bundle's own configs, whose weights are registered, and what its network says."""

import warnings
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, run

from bundle.checkpoints import load_weights
from bundle.export.exportable import SCORE_NAMES
from tests.handlers.tracked_engines import ROOT
from tests.tiny import write_tiny_data

CONFIGS = [str(ROOT / "configs" / "train.json"), str(ROOT / "tests" / "tiny.json")]


def train(folder: Path, **settings: Any) -> None:
    """Train in `folder`, tracked by the bundle's settings, in this process; again, to go on."""
    if not (folder / "data").is_dir():
        write_tiny_data(folder / "data")
    tracked = str(ROOT / "configs" / "tracking_mlflow.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run("training", config_file=CONFIGS, logging_file=False, tracking=tracked, bundle_root=str(folder), **settings)


def outputs(folder: Path, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the network with the best weights of a training says, by the names of an export's outputs."""
    parser = ConfigParser()
    parser.read_config(CONFIGS)
    network = parser.get_parsed_content("network_def")
    load_weights(network, folder / "models" / "model.pt")
    with torch.inference_mode():
        found = network.eval()(image, full=True)
    scores = torch.stack([found["scores"][name] for name in SCORE_NAMES], 1)
    return {"pred": found["pred"], "image_score": found["scores"]["image"], "scores": scores}
