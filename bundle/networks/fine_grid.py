"""Patch tokens on a finer grid than the vision tower's."""

import torch
import torch.nn.functional as F
from torch import nn


class FineGrid(nn.Module):
    """The tower's patch tokens, upsampled and joined by features from where detail still lives.

        u = bilinear(h),   v = u + V d,   t = v + W2 relu(BN(W1 * v))

    with h the tower's tokens on its grid (Gh, Gw), u on (f·Gh, f·Gw), d an earlier feature map, V a convolution that
    brings it to that grid, W1 3x3 and W2 1x1 convolutions. A lesion smaller than a patch of the tower then has patches
    of its own. The tower, and what it costs, stay as they are.

    V's kernel and stride are the whole number of features a fine patch; where the sizes do not divide, what it gives
    is resampled bilinearly.

    Source: ours, for the limit that Patch-CLIP's paper names itself (lesions smaller than a patch); the lateral
    connection is that of Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.

    Args:
        width: W, of the tokens.
        grid: (Gh, Gw) of the tower.
        factor: f, 2 or more.
        detail_channels: channels of the earlier feature map.
        detail_size: its side; at least f·Gh.

    Raises:
        ValueError: the feature map is coarser than the fine grid.
    """

    # of W1: all of a small tower's width; a ViT-L's 1,024 would cost an eighth of the tower
    MOST_HIDDEN = 256

    def __init__(self, width: int, grid: tuple[int, int], factor: int, detail_channels: int, detail_size: int) -> None:
        super().__init__()
        self.coarse, self.grid = grid, (grid[0] * factor, grid[1] * factor)
        stride = detail_size // max(self.grid)
        if stride < 1:
            raise ValueError(
                f"patch_factor {factor} makes a grid of {self.grid[0]}x{self.grid[1]} patches, finer than the features "
                f"it would take detail from ({detail_size}x{detail_size}); give a smaller patch_factor."
            )
        hidden = min(width, self.MOST_HIDDEN)
        self.lateral = nn.Conv2d(detail_channels, width, stride, stride)
        self.mix = nn.Sequential(
            nn.Conv2d(width, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, width, 1),
        )

    def forward(self, tokens: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Tokens (B, Gh·Gw, W) and an earlier feature map (B, C, S, S) -> (B, f·Gh·f·Gw, W), row by row."""
        lateral = self.lateral(detail)
        if lateral.shape[-2:] != self.grid:
            lateral = _bilinear(lateral, self.grid)
        joined = _bilinear(tokens.transpose(1, 2).unflatten(-1, self.coarse), self.grid) + lateral
        return (joined + self.mix(joined)).flatten(2).transpose(1, 2)

    def positions(self, positions: torch.Tensor) -> torch.Tensor:
        """The tower's positional embeddings (Gh·Gw, W) at the fine patches: (f·Gh·f·Gw, W)."""
        table = positions.T.unflatten(-1, self.coarse)[None]
        return _bilinear(table, self.grid)[0].flatten(1).T


def _bilinear(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
