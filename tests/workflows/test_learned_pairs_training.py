"""The network with a linear head in place of prompts trains and is judged by its configs."""

import torch

from tests.workflows.conftest import Place


def test_learned_pairs_train_and_are_judged(tmp_path):
    place = Place(tmp_path)
    where = {"ckpt_dir": place.models / "learned_pairs", "output_dir": place.eval / "learned_pairs"}
    place.run("training", "train", "learned_pairs", **where, max_epochs=1)
    weights = torch.load(where["ckpt_dir"] / "model.pt", weights_only=True)
    assert weights["pairs"].shape == (2, 2, 16)
    place.run("evaluating", "train", "learned_pairs", "evaluate", **where, replicates=20)
    assert "froc/mean/sens_at_1fp" in place.metrics(where["output_dir"])
