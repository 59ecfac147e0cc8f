"""Quality on validation against training time: python -m scripts.quality_curve eval/demo/mlruns.db"""

from pathlib import Path

import fire
from mlflow import MlflowClient

METRICS = ("auroc", "froc", "loss/total")


def main(database: str, run_name: str | None = None) -> None:
    """Print a row an epoch of the last finished training (or of `run_name`): minutes since its start, and its metrics.

    `auroc` is the mean AUROC of the configured image score, `froc` the mean FROC sensitivity over 1/8 .. 8 FP/image.
    """
    client = MlflowClient(f"sqlite:///{Path(database).resolve()}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], order_by=["start_time DESC"])
    trained = [r for r in runs if "loss/total" in r.data.metrics and run_name in (None, r.info.run_name)]
    if not trained:
        raise SystemExit(f"{database} holds no tracked training{f' named {run_name}' if run_name else ''}.")
    run = trained[0]
    history = {name: {m.step: m for m in client.get_metric_history(run.info.run_id, name)} for name in METRICS}
    print(f"run {run.info.run_name}\n{'epoch':>6}{'minutes':>9}" + "".join(f"{name:>12}" for name in METRICS))
    for step, metric in sorted(history["froc"].items()):
        minutes = (metric.timestamp - run.info.start_time) / 60_000
        values = [history[name][step].value if step in history[name] else float("nan") for name in METRICS]
        print(f"{step:>6}{minutes:>9.1f}" + "".join(f"{value:>12.3f}" for value in values))


if __name__ == "__main__":
    fire.Fire(main)
