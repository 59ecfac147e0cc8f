"""A packaged bundle, opened: what its inference.json says, and its network with the weights in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from bundle.checkpoints import load_weights


@dataclass(frozen=True)
class PackagedBundle:
    """What an export needs of a folder that `scripts.package_bundle` wrote.

    Attributes:
        folder: its root.
        config: inference.json, parsed; its references resolve to the folder.
        metadata: metadata.json.
        prompts: `prompts` of train.json, the words behind the weights' prompt embeddings; None where it has none.
        weights: the file that the network's weights were read from.
        network: float32, on the CPU, in eval mode, without text tower.
    """

    folder: Path
    config: ConfigParser
    metadata: Mapping[str, Any]
    prompts: Mapping[str, Any] | None
    weights: Path
    network: nn.Module


def open_package(folder: str | Path) -> PackagedBundle:
    """Read a packaged bundle and build its network.

    Args:
        folder: with configs/inference.json, configs/metadata.json and models/model.pt.

    Raises:
        FileNotFoundError: a config or the weights are missing.
        ValueError: the weights do not fit the network.
    """
    folder = Path(folder).resolve()
    configs = folder / "configs"
    for name in ("inference.json", "metadata.json"):
        if not (configs / name).is_file():
            raise FileNotFoundError(
                f"No configs/{name} in {folder}. Wanted: a folder that `python -m scripts.package_bundle` wrote."
            )
    config = ConfigParser()
    config.read_config(str(configs / "inference.json"))
    config["bundle_root"], config["device"] = str(folder), "cpu"
    weights = Path(config.get_parsed_content("ckpt_path"))
    network = config.get_parsed_content("network_def")
    load_weights(network, weights)
    training = configs / "train.json"
    prompts = json.loads(training.read_text(encoding="utf-8")).get("prompts") if training.is_file() else None
    metadata = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))
    return PackagedBundle(folder, config, metadata, prompts, weights, network.float().eval())
