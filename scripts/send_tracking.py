"""Send MLflow what trainings could not, while its server did not answer.

python -m scripts.send_tracking eval --tracking_uri http://server:5000
"""

import os
from pathlib import Path

import fire
from mlflow import MlflowClient

from bundle.handlers.outbox import send_left
from bundle.handlers.run_sender import Sender, limit_requests, reason


def main(folder: str, tracking_uri: str | None = None) -> None:
    """Send what waits in a training's or evaluation's `output_dir`, in files mlflow_waiting_*.jsonl, and remove it.

    All of it, wherever it was meant for; not that of processes that still run. The environment's MLFLOW_TRACKING_URI
    comes before `tracking_uri`.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
    if not uri:
        raise SystemExit("send_tracking: wanted --tracking_uri or the environment's MLFLOW_TRACKING_URI.")
    if not Path(folder).is_dir():
        raise SystemExit(f"send_tracking: there is no folder {folder}; wanted the output_dir of a training.")
    limit_requests()
    try:
        sent = send_left(Sender(MlflowClient(uri), Path(folder).absolute()), everything=True)
    except Exception as error:  # stores and clouds each raise their own
        raise SystemExit(f"MLflow does not answer ({reason(error)}): what waits in {folder} is still there.") from error
    print(f"Sent: {', '.join(sent)}" if sent else f"Nothing waits in {folder}.")


if __name__ == "__main__":
    fire.Fire(main)
