"""What is to be registered: refused before a training where it cannot be, said after it where it was not."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from bundle.export.packaged_configs import SHARED
from bundle.handlers.registered_model import DATA, EPOCH, METRIC, VALUE, chosen_by
from bundle.handlers.run_sender import Sender
from bundle.networks.selection import PatchSelection
from tests.handlers.tracked_engines import artifacts, runs, tracking, trainer, uri


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"registered_model": "a/b"}, "registered_model is 'a/b'"),
        ({"registered_model": "m", "registered_alias": "Latest"}, "registered_alias is 'Latest'"),
        ({"registered_model": "m", "registered_alias": "v2"}, "registered_alias is 'v2'"),
        ({"registered_model": "m", "checkpoint": None}, "and a checkpoint"),
        ({"registered_model": "m", "config": False}, "save_execute_config true"),
        ({"registered_model": "m"}, "a Linear cannot be exported"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_the_training(
    output_dir: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(tracking(output_dir, "a", **{"checkpoint": output_dir / "model.pt", **settings})).run()
    assert not list(output_dir.glob("mlflow_waiting_*"))


def test_a_value_says_what_it_is_comparable_with() -> None:
    def tags(
        value: float = 0.5, section: str = "validation", criterion: str = "centre", words: str = ""
    ) -> dict[str, str]:
        state = SimpleNamespace(chosen_by=("froc", value, 3))
        config = {"validation_section": section, "hit_criterion": {"_desc_": words, "criterion": criterion}}
        return chosen_by(state, config, [{"name": "training", "digest": "d", "profile": {"findings": ["Mass"]}}])

    assert tags().items() >= {METRIC: "froc", VALUE: "0.5", EPOCH: "3"}.items()
    assert tags(0.6)[DATA] == tags(words="said otherwise")[DATA] == tags()[DATA]
    assert len({each[DATA] for each in (tags(), tags(section="test"), tags(criterion="iou"))}) == 3
    assert tags(math.nan) == chosen_by(SimpleNamespace(), {}, []) == {}
    assert chosen_by(SimpleNamespace(chosen_by=("froc", 0.5, 3)), {}, []) == {}  # of data that nobody knows


def test_an_export_that_fails_is_said_and_the_run_is_whole(output_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    def train() -> None:
        engine = trainer(tracking(output_dir, "a", checkpoint=output_dir / "model.pt", registered_model="m"))
        engine.network.selection = PatchSelection(2)
        engine.run()

    with pytest.raises(ValueError, match=r"has no reading.* not a pretraining's"):
        train()
    # all that inference needs is named, and the weights are not
    (output_dir / "config_20250102_030405.json").write_text(json.dumps({key: [] for key in SHARED}))
    train()
    (run,) = runs(output_dir)
    assert run.info.status == "FINISHED"
    assert "registration_failed" in run.data.tags
    assert artifacts(run) == {"config.json", "models/model.pt"}
    assert f"{output_dir / 'model.pt'} is not registered in MLflow" in caplog.text
    assert not [path.name for path in output_dir.iterdir() if "register" in path.name or "model_" in path.name]


def test_who_is_alone_with_a_database_has_a_registry_too(output_dir: Path) -> None:
    client = MlflowClient(uri(output_dir))
    model = output_dir / "mlflow_model_a"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    head = {"token": "t", "name": "alone", "experiment": "patch_clip", "began": 1, "tags": {}}
    names = {"name": "m", "alias": "best", "folder": model.name, "weights": "w"}
    entry = {"op": "register", **names, "tags": {METRIC: "froc", VALUE: "0.25", DATA: "d"}}
    sender = Sender(client, output_dir)
    sender.send(head, entry)
    sender.send(head, entry)  # the folder is gone, the version there
    (run,) = runs(output_dir)
    version = client.get_model_version_by_alias("m", "best")
    assert (version.run_id, version.source) == (run.info.run_id, f"{run.info.artifact_uri}/registered/w")
    assert artifacts(run) == {"registered/w/MLmodel"}
    assert len(client.search_model_versions("name = 'm'")) == 1
    for store in (client._tracking_client.store, client._get_registry_client().store):
        store._dispose_engine()
