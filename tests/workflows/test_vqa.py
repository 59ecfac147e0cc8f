"""Questions on frozen networks: trained, stopped, judged beside the blind; and the texts of an evaluation."""

import json

import pytest
import torch
from monai.bundle import ConfigWorkflow

from bundle.metrics.answers_io import load_answers
from bundle.metrics.registry import unregistered
from tests.workflows.conftest import ROOT, TINY, Place
from tests.workflows.test_region_systems import STILL, same
from tests.workflows.test_resume import weights
from tests.workflows.test_two_processes import TORCHRUN


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A place in which Patch-CLIP has been trained, then the answers to questions, sighted and blind, and judged."""
    place = Place(tmp_path_factory.mktemp("asked"))
    place.run("training", "train", max_epochs=1)
    place.output = place.run("training", "train", "vqa")
    place.run("evaluating", "train", "vqa", "vqa_evaluate", replicates=20)
    for run_id, more, settings in (("training", [], {}), ("evaluating", ["vqa_evaluate"], {"replicates": 20})):
        place.run(run_id, "train", "vqa", *more, blind=True, **settings)
    return place


@pytest.mark.slow
def test_answers_are_judged_beside_the_blind(asked):
    for term in ("loss/answer", "loss/total", "vqa", " left:"):
        assert term in asked.output
    for name in ("vqa", "vqa_blind"):
        metrics = asked.metrics(asked.eval / name)
        answers = load_answers(asked.eval / name / "answers.csv")
        assert metrics["vqa/n_questions"] == len(answers.image) > 10
        assert unregistered(metrics) == []
        assert metrics["vqa/accuracy"] == pytest.approx(answers.right.mean())
        assert {"vqa/accuracy/presence/low", "vqa/accuracy/mean/high", "vqa/n_outside"} <= metrics.keys()
        assert set(answers.image.tolist()) <= set(range(5))
    table = asked.script("compare_vqa", asked.eval / "vqa", asked.eval / "vqa_blind", "--replicates=20")
    assert "| questions | number | ours | vqa_blind | minus vqa_blind |" in table
    compared = json.loads((asked.eval / "vqa" / "vqa_comparison.json").read_text())
    ours, blind = (asked.metrics(asked.eval / name)["vqa/accuracy"] for name in ("vqa", "vqa_blind"))
    assert compared["vqa/all/vqa_blind/difference"] == pytest.approx(ours - blind)
    assert "SecretReport" not in "".join(p.read_text() for p in (asked.eval / "vqa").iterdir())


@pytest.mark.slow
def test_the_tower_is_the_one_that_was_trained_and_stays(asked):
    tower, all_of = (
        torch.load(folder / "model.pt", weights_only=True) for folder in (asked.models, asked.models / "vqa")
    )
    own = {name.removeprefix("tower.network."): v for name, v in all_of.items() if name.startswith("tower.network.")}
    assert tower.keys() == own.keys()
    # made anew from the text tower, whatever was stored
    assert same({n: v for n, v in tower.items() if n != "prompt_embeddings"}, own)
    assert {name.split(".")[0] for name in all_of} == {
        "tower",
        "head",
        "question_mean",
        "question_variance",
        "_extra_state",
    }


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", [STILL, None])
def test_resumed_it_ends_with_the_same_weights_and_with_no_other_tower(asked, tmp_path, augmentation):
    more = {"augmentation": augmentation}  # without any, the tokens of the images are kept
    asked.run("training", "train", "vqa", vqa_dir=tmp_path / "whole", max_epochs=3, **more)
    asked.run("training", "train", "vqa", vqa_dir=tmp_path / "parts", max_epochs=2, **more)
    output = asked.run("training", "train", "vqa", vqa_dir=tmp_path / "parts", max_epochs=3, **more)
    assert "Resuming after epoch 2 of 3" in output
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    stored = torch.load(asked.models / "model.pt", weights_only=True)
    stored["clip.logit_scale"] += 0.1
    torch.save(stored, tmp_path / "other.pt")
    other = {**more, "vqa_dir": tmp_path / "parts", "max_epochs": 4, "tower_checkpoint": tmp_path / "other.pt"}
    with pytest.raises(AssertionError, match=r"last\.pt learnt from .*tower"):
        asked.run("training", "train", "vqa", **other)


@pytest.mark.slow
def test_on_another_system_and_a_missing_tower(place):
    system = ("train", "regionmed_clip")
    with pytest.raises(AssertionError, match=r"No weights at .*models/model\.pt"):
        place.run("training", *system, "vqa")
    place.run("training", *system, max_epochs=3)
    output = place.run("training", *system, "vqa", max_epochs=2)
    assert "Stage" not in output
    place.run("evaluating", *system, "vqa", "vqa_evaluate", replicates=0)
    assert place.metrics(place.eval / "vqa")["vqa/accuracy"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("system", [(), ("region_aware_medclip",), ("regionmed_clip",)])
def test_texts_are_judged_of_every_network(asked, tmp_path, system):
    where = {"ckpt_dir": asked.models, "output_dir": tmp_path, "replicates": 20, "gallery": 0}
    where |= {"patch_factor": 2, "patch_prior": 0.5}  # of the weights, which are Patch-CLIP's
    if system == ("regionmed_clip",):
        where["ckpt_path"] = asked.models / "model.pt"  # its processor is closed at first
    asked.run("evaluating", "train", *system, "evaluate", "evaluate_texts", **where)
    metrics = asked.metrics(tmp_path)
    regions = metrics["regions/n_regions"]
    assert regions == 3 + 2  # masses and effusions of the test section
    for key in ("accuracy", "accuracy/blind", "accuracy/difference", "pointing", "caption_to_region/r_at_5"):
        assert {f"regions/{key}", f"regions/{key}/low"} <= metrics.keys()
    assert metrics["retrieval/image_to_report/gallery_size"] == 5
    page = (tmp_path / "report.html").read_text()
    assert "Regions and their captions" in page
    assert "SecretReport" not in page


@pytest.mark.slow
def test_two_processes_train_one_network(asked, tmp_path):
    arguments = asked.arguments("training", "train", "multi_gpu_train", "vqa", batch_size=2, vqa_dir=tmp_path / "two")
    output = asked.execute([*TORCHRUN, *arguments])
    last = torch.load(tmp_path / "two" / "last.pt", weights_only=True)
    assert last["epoch"] == 2
    assert all(torch.isfinite(v).all() for v in last["network"].values() if isinstance(v, torch.Tensor))
    assert output.count("100% done") == 1


@pytest.mark.slow
def test_properties_are_complete(asked, tmp_path):
    files = [str(ROOT / "configs" / "train.json"), str(TINY), str(ROOT / "configs" / "vqa.json")]
    where = {"dataset_dir": str(asked.data), "output_dir": str(tmp_path), "ckpt_dir": str(asked.models)}
    workflow = ConfigWorkflow(config_file=files, workflow_type="train", logging_file=False, **where)
    workflow.initialize()
    assert workflow.check_properties() == []
