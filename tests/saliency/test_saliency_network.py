"""A saliency method in the place of the patch maps: scalings, contract, evaluator."""

import pytest
import torch
from monai.engines import SupervisedEvaluator

from bundle.checkpoints import load_weights, save_atomically
from bundle.engines import EvaluationStep
from bundle.precision import Precision
from bundle.saliency import METHODS, SaliencyNetwork, scale_by_constant, scale_by_probability

NAN = float("nan")


def test_scaling_by_a_constant():
    maps = torch.tensor([[[[0.0, 1.0], [2.0, 8.0]], [[0.0, 1.0], [NAN, 8.0]]]])
    wanted = torch.tensor([[[[0.0, 0.25], [0.5, 1.0]], [[0.0, 0.25], [NAN, 1.0]]]])
    torch.testing.assert_close(scale_by_constant(maps, 4.0), wanted, equal_nan=True)
    per_finding = scale_by_constant(maps, torch.tensor([4.0, 16.0]))
    torch.testing.assert_close(per_finding[0, 0], wanted[0, 0])
    assert per_finding[0, 1, 1, 1] == 0.5


def test_scaling_by_the_images_probability():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]], [[7.0, 7.0], [7.0, 7.0]], [[1.0, NAN], [0.0, 0.0]]]])
    scaled = scale_by_probability(maps, torch.tensor([[0.8, 0.9, 0.5]]))
    torch.testing.assert_close(scaled[0, 0], torch.tensor([[0.0, 0.2], [0.4, 0.8]]))
    assert torch.equal(scaled[0, 1], torch.zeros(2, 2))  # constant: says nothing of where
    assert scaled[0, 2].isnan().all()  # a failure is not "no finding"


def test_what_lies_in_the_pad_scales_no_map():
    maps = torch.tensor([[[[9.0, NAN], [1.0, 3.0]]]])
    visible = torch.tensor([[[False, False], [True, True]]])
    assert torch.equal(
        scale_by_probability(maps, torch.tensor([[0.8]]), visible)[0, 0], torch.tensor([[0, 0], [0, 0.8]])
    )
    maps[0, 0, 1, 1] = NAN
    assert scale_by_probability(maps, torch.tensor([[0.8]]), visible)[0, 0, 1].isnan().all()


CASES = [(m, "probability", None) for m in METHODS] + [(m, "raw", 0.01) for m in METHODS]
CASES += [("cosine", "none", None), ("value_cosine", "none", None), ("relevance", "raw", [0.01, 0.1, 1.0])]


@pytest.mark.parametrize(("method", "scaling", "scale"), CASES)
def test_the_call_contract_is_patch_clips(build, image, method, scaling, scale):
    net = build()
    saliency = SaliencyNetwork(net, method, scaling, scale).eval()
    with torch.no_grad():
        maps, full, own = saliency(image), saliency(image, full=True), net(image, full=True)
    assert maps.shape == own["pred"].shape
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    assert 0 < maps.max() <= 1
    assert set(full) == {"pred", "scores"}
    assert torch.equal(full["pred"], maps)
    assert set(full["scores"]) == set(own["scores"])
    for name, score in full["scores"].items():
        torch.testing.assert_close(score, own["scores"][name], atol=0, rtol=0, equal_nan=True)
    plain = METHODS[method](net, image)
    if scaling == "none":
        assert torch.equal(maps, plain)
    elif scaling == "raw":
        divisor = torch.tensor(scale).reshape(-1, 1, 1)
        torch.testing.assert_close(maps, (plain / divisor).clamp(max=1))
    else:
        varies = plain.amax((-2, -1)) > plain.amin((-2, -1))  # Grad-CAM's relu can leave nothing of a map
        assert varies.any()
        torch.testing.assert_close(maps.amax((-2, -1)), own["scores"]["image"] * varies)


def test_options_reach_the_method(build, image):
    net = build()
    first = SaliencyNetwork(net, "grad_cam", "raw", 1.0, block=0, normalised=False)(image)
    torch.testing.assert_close(first, METHODS["grad_cam"](net, image, block=0, normalised=False).clamp(max=1))
    assert not torch.allclose(first, METHODS["grad_cam"](net, image).clamp(max=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "gradcam", "scaling": "probability"}, "'gradcam' is unknown; give one of grad_cam, rollout"),
        ({"method": "rollout", "scaling": "minmax"}, "'minmax' is unknown; give 'raw'"),
        ({"method": "rollout", "scaling": "none"}, "'none' is for maps that are probabilities"),
        ({"method": "rollout", "scaling": "raw"}, "'raw' needs a scale"),
        ({"method": "rollout", "scaling": "probability", "scale": 2.0}, "takes no scale, found 2"),
        ({"method": "rollout", "scaling": "raw", "scale": 0.0}, "give a number above 0"),
        ({"method": "rollout", "scaling": "raw", "scale": [1.0, NAN, 1.0]}, "give a number above 0"),
        ({"method": "rollout", "scaling": "raw", "scale": [1.0, 2.0]}, "or 3 of them"),
        ({"method": "rollout", "scaling": "probability", "block": 1}, r"no options \['block'\]; it has \[\]"),
        ({"method": "grad_cam", "scaling": "probability", "layer": 1}, r"it has \['block', 'normalised'\]"),
    ],
)
def test_wrong_settings_are_refused(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        SaliencyNetwork(build(), **arguments)


def test_weights_loaded_into_the_network_are_the_wrappers(build, image, tmp_path):
    net, other = build(seed=1), build(seed=2)
    saliency = SaliencyNetwork(net, "grad_cam", "raw", 1.0)
    before = saliency(image)
    save_atomically(other.state_dict(), tmp_path / "model.pt")
    load_weights(net, tmp_path / "model.pt")
    assert saliency.network is net
    assert not torch.allclose(saliency(image), before)
    torch.testing.assert_close(saliency(image), METHODS["grad_cam"](other, image).clamp(max=1))
    assert "scale" not in saliency.state_dict()


@pytest.mark.parametrize("autocast", ["float32", "bfloat16"])
def test_monais_evaluator_runs_on_it(build, image, autocast):
    precision = Precision(autocast)
    saliency = SaliencyNetwork(build(), "relevance", "probability")
    saliency = precision.place(saliency, torch.device("cpu"))
    seen = []

    def keep(batch):
        seen.append(batch)
        return batch

    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": image, "index": torch.arange(3)}],
        network=saliency,
        iteration_update=EvaluationStep(precision),
        postprocessing=keep,
    )
    evaluator.run()
    assert len(seen) == 3
    maps = torch.stack([one["pred"] for one in seen])
    probability = torch.stack([one["scores"]["image"] for one in seen])
    assert maps.shape == (3, 3, 4, 4)
    torch.testing.assert_close(maps.amax((-2, -1)), probability)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_maps_have_the_towers_grid_however_fine_the_networks_are(build, method):
    """What attention and gradients say, they say of the tower's patches."""
    plain, fine = build(), build(patch_factor=2)
    for part in ("clip", "downscaler"):
        getattr(fine, part).load_state_dict(getattr(plain, part).state_dict())
    fine.prompt_embeddings.copy_(plain.prompt_embeddings)
    image = torch.rand(2, 1, 132, 132, generator=torch.Generator().manual_seed(3))
    assert fine.grid == (8, 8)
    maps = METHODS[method](plain, image)
    assert maps.shape[-2:] == (4, 4)
    torch.testing.assert_close(METHODS[method](fine, image), maps)
