"""PlanarBatchNorm is nn.BatchNorm2d: values, gradients, statistics, layout, and where it steps aside."""

import pytest
import torch
from torch import nn

from bundle.networks.planar_batch_norm import MOST_CHANNELS, PlanarBatchNorm


def _both(layout: torch.memory_format, dtype: torch.dtype, channels: int) -> list[tuple[torch.Tensor, ...]]:
    """Of ours and of PyTorch's, with a ReLU in place behind, as in the downscaler."""
    generator = torch.Generator().manual_seed(0)
    found = []
    drawn, gradient = (torch.randn(3, channels, 9, 11, generator=generator, dtype=torch.float64) for _ in range(2))
    for kind in (PlanarBatchNorm, nn.BatchNorm2d):
        norm = kind(channels).to(torch.float64 if dtype is torch.float64 else torch.float32)
        with torch.no_grad():
            norm.weight.copy_(torch.arange(1, channels + 1))
        images = (2 + 3 * drawn).to(dtype).contiguous(memory_format=layout).requires_grad_()
        out = nn.functional.relu(norm(images), inplace=True)
        out.backward(gradient.to(dtype))
        found.append((out.detach(), images.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var))
    return found


@pytest.mark.parametrize("channels", [1, 5, MOST_CHANNELS + 1])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 0.05)])
def test_it_is_batch_normalisation_in_training(
    layout: torch.memory_format, dtype: torch.dtype, tolerance: float, channels: int
) -> None:
    ours, theirs = _both(layout, dtype, channels)
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=tolerance, atol=tolerance)
    assert ours[0].is_contiguous(memory_format=layout)
    assert ours[1].is_contiguous(memory_format=layout)


def test_it_computes_by_planes_where_that_is_quicker() -> None:
    images = torch.randn(2, 5, 8, 8)
    last = images.contiguous(memory_format=torch.channels_last)
    for norm, given, planes in (
        (PlanarBatchNorm(5), last, True),
        (PlanarBatchNorm(5), images, False),
        (PlanarBatchNorm(5).eval(), last, False),
    ):
        assert (norm(given).grad_fn.name() == "_LaidBackward") is planes


def test_outside_training_it_is_the_same_to_the_bit() -> None:
    norm = PlanarBatchNorm(5).eval()
    plain = nn.BatchNorm2d(5).eval()
    plain.load_state_dict(norm.state_dict())
    images = torch.randn(2, 5, 8, 8).contiguous(memory_format=torch.channels_last)
    assert torch.equal(norm(images), plain(images))
