"""Two hospitals train the bundle together through MONAI's federated-learning client."""

import json
import math

import pytest
import torch

from bundle.data.sites import split_by_site
from bundle.federated import Federation, Site, federated_average
from scripts import federated_demo
from tests.tiny import FINDINGS, write_tiny_data
from tests.workflows.conftest import ROOT, TINY


def test_the_average_is_weighted_and_what_is_the_same_stays():
    frozen = torch.tensor([0.1, 0.3, 0.7])
    names = torch.tensor([91, 93], dtype=torch.uint8)
    batches = [torch.tensor(3), torch.tensor(5)]
    first = {
        "w": torch.tensor([1.0, 0.0]),
        "frozen": frozen,
        "bn.num_batches_tracked": batches[0],
        "_extra_state": names,
    }
    second = {**first, "w": torch.tensor([4.0, 6.0]), "bn.num_batches_tracked": batches[1]}
    average = federated_average([first, second], [2, 1])
    assert average["w"].tolist() == [2.0, 2.0]
    assert torch.equal(average["frozen"], frozen)
    assert average["bn.num_batches_tracked"] == 5
    assert torch.equal(average["_extra_state"], names)


def test_sites_that_do_not_fit_are_refused():
    one = {"w": torch.ones(2), "_extra_state": torch.tensor([91], dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"Site 1 trains another network than Site 0: \['w'\] differ"):
        federated_average([one, {**one, "w": torch.ones(3)}], [1, 1])
    with pytest.raises(ValueError, match=r"\['v'\] differ"):
        federated_average([one, {**one, "v": torch.ones(3)}], [1, 1])
    with pytest.raises(ValueError, match=r"_extra_state differs between sites .* same findings"):
        federated_average([one, {**one, "_extra_state": torch.tensor([92], dtype=torch.uint8)}], [1, 1])
    with pytest.raises(ValueError, match=r"got \[0, 1\]"):
        federated_average([one, one], [0, 1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_of_a_diverged_site_are_refused_by_name(value):
    one = {"w": torch.ones(2), "n": torch.tensor(3)}
    other = {**one, "w": torch.tensor([1.0, value])}
    for weights in ([one, other], [other], [other, other]):
        with pytest.raises(ValueError, match=r"sent NaN or infinity in 1 entries: \['w'\].*learning rate"):
            federated_average(weights, [1] * len(weights))
    with pytest.raises(ValueError, match="north sent NaN"):
        federated_average([one, other], [1, 1], ["south", "north"])


def test_the_demo_closes_its_sites_when_training_fails(tmp_path, monkeypatch):
    closed = []

    class Failing:
        def __init__(self, *arguments):
            pass

        def train(self):
            raise RuntimeError("a site is gone")

        def close(self):
            closed.append(True)

    monkeypatch.setattr(federated_demo, "Federation", Failing)
    monkeypatch.setattr(federated_demo, "split_by_site", lambda *arguments: [tmp_path])
    with pytest.raises(RuntimeError, match="a site is gone"):
        federated_demo.main("train.json", str(tmp_path), str(tmp_path))
    assert closed == [True]


def test_patients_are_in_one_shard_by_site_or_in_turn(tmp_path):
    datalist = write_tiny_data(tmp_path / "data")
    in_turn = [json.loads((f / "datalist.json").read_text()) for f in split_by_site(datalist, tmp_path / "a")]
    assert [(len(d["training"]), len(d["validation"]), "test" in d) for d in in_turn] == [(6, 3, False), (6, 2, False)]
    document = json.loads(datalist.read_text())
    for section in ("training", "validation"):
        for number, entry in enumerate(document[section]):
            entry["site"] = "CAB"[number % 3]
    document["training"][1] |= {"patient_id": "patient-0"}  # of site A, the patient's first image of site C
    datalist.write_text(json.dumps(document))
    by_site = [json.loads((f / "datalist.json").read_text()) for f in split_by_site(datalist, tmp_path / "b")]
    assert {e["site"] for e in by_site[0]["training"]} == {"A", "C"}
    assert {e["site"] for e in by_site[1]["training"]} == {"B"}
    assert [len(d["training"]) for d in by_site] == [8, 4]
    document["training"][2] |= {"patient_id": "patient-0 "}  # of site B, and as DICOM pads it
    datalist.write_text(json.dumps(document))
    padded = [json.loads((f / "datalist.json").read_text()) for f in split_by_site(datalist, tmp_path / "d")]
    assert [len(d["training"]) for d in padded] == [9, 3]
    with pytest.raises(ValueError, match="shard 4 of 4 would have no patient in 'training'"):
        split_by_site(datalist, tmp_path / "c", 4)


@pytest.mark.filterwarnings("ignore:executing the bundle config:UserWarning")
def test_two_sites_train_two_rounds_and_their_average_is_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    datalist = write_tiny_data(tmp_path / "data", {"training": 14, "validation": 5, "test": 5})
    folders = split_by_site(datalist, tmp_path / "shards")
    document = json.loads((folders[1] / "datalist.json").read_text())
    document["training"] = document["training"][:4]  # sites of unequal sizes
    (folders[1] / "datalist.json").write_text(json.dumps(document))
    federation = Federation(
        ROOT,
        [str(ROOT / "configs" / "train.json"), str(TINY)],
        [Site(folder.name, folder) for folder in folders],
        tmp_path / "out",
        overrides={"image_dir": str(tmp_path / "data"), "replicates": 0} | {"learning_rate": 0.01, "batch_size": 2},
    )
    images = [{str(item["image"]) for item in c.train_workflow.train_dataset_data} for c in federation.clients]
    assert [len(names) for names in images] == [7, 4]
    assert images[0].isdisjoint(images[1])

    # begin with a file, of the form that version 0.1.0 wrote
    initial = dict(federation.clients[1].trainer.network.state_dict()) | {"_extra_state": {"findings": FINDINGS}}
    initial["projection.linear.weight"] = initial["projection.linear.weight"] + 0.1
    torch.save(initial, tmp_path / "initial.pt")
    federation.initial_weights = tmp_path / "initial.pt"

    sent, got = [], []
    for client in federation.clients:
        received = client.train

        def train(data, extra=None, client=client, received=received):
            got.append({name: value.clone() for name, value in data.weights.items()})
            received(data, extra)
            sent.append({name: value.clone() for name, value in client.trainer.network.state_dict().items()})

        monkeypatch.setattr(client, "train", train)
    weights = federation.train()
    assert [client.trainer.state.epoch for client in federation.clients] == [2, 2]
    federation.close()

    assert torch.equal(got[0]["projection.linear.weight"], initial["projection.linear.weight"])
    # both begin with the same; after round 1 with the average; the average of round 2 is the result
    for name in weights:
        assert torch.equal(got[0][name], got[1][name]), name
        assert torch.equal(got[2][name], got[3][name]), name
    moved, same = 0, 0
    for updates, average in ((sent[:2], got[2]), (sent[2:], weights)):
        for name, value in average.items():
            one, other = (update[name] for update in updates)
            if torch.equal(one, other):
                assert torch.equal(value, one), name
                same += 1
            elif value.is_floating_point():
                torch.testing.assert_close(value, (7 * one + 4 * other) / 11, rtol=1e-5, atol=1e-6)
                moved += 1
    assert moved > 20
    assert same > 20
    frozen = [name for name in weights if name.startswith("clip.text.")]
    assert frozen
    assert all(torch.equal(weights[name], got[0][name]) for name in frozen)
    assert not torch.equal(weights["downscaler.layers.1.running_mean"], got[0]["downscaler.layers.1.running_mean"])

    folder = federation.evaluate(tmp_path / "data")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert math.isfinite(metrics["auroc/mean"])
    assert math.isfinite(metrics["froc/mean/score"])
    assert (folder / "report.html").is_file()
    stored = torch.load(federation.weights_path, weights_only=True)
    assert all(torch.equal(stored[name], weights[name]) for name in weights)
    rounds = json.loads((tmp_path / "out" / "rounds.json").read_text())
    assert [entry["round"] for entry in rounds] == [1, 2]
    assert [entry["images"] for entry in rounds] == [[7, 4], [7, 4]]
    assert rounds[1]["validation"].keys() == {"site_1", "site_2"}
    assert all("auroc" in found for found in rounds[1]["validation"].values())
