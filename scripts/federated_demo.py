"""Federated learning with MONAI's client: sites train the bundle together, the average is judged on the test section.

python -m scripts.federated_demo --config_file "['configs/train.json','configs/demo.json']" --dataset_dir data/demo \
    --output eval/federated
"""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import fire

from bundle.data.sites import split_by_site
from bundle.federated import Federation, Site


def main(
    config_file: str | Sequence[str],
    dataset_dir: str,
    output: str,
    sites: int = 2,
    rounds: int = 2,
    local_epochs: int = 1,
    initial_weights: str | None = None,
    **overrides: Any,
) -> None:
    """Cut the datalist into `sites` shards, train for `rounds`, judge. Further options override keys of the configs."""
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    root, folder, data = Path(__file__).resolve().parent.parent, Path(output).resolve(), Path(dataset_dir).resolve()
    shards = [Site(shard.name, shard) for shard in split_by_site(data / "datalist.json", folder / "data", sites)]
    federation = Federation(
        root,
        files,
        shards,
        folder,
        rounds,
        local_epochs,
        None if initial_weights is None else Path(initial_weights),
        {"image_dir": str(data), **overrides},
    )
    with closing(federation):
        federation.train()
    judged = federation.evaluate(data)
    for entry in json.loads((folder / "rounds.json").read_text()):
        print(entry)
    metrics = json.loads((judged / "metrics.json").read_text())
    print({name: metrics[name] for name in ("auroc/mean", "froc/mean/sens_at_1fp", "froc/mean/score")})
    print(f"Weights: {federation.weights_path}   Report: {judged / 'report.html'}")


if __name__ == "__main__":
    fire.Fire(main)
