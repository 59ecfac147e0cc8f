"""RegionMed-CLIP's region processor: a region looks at its whole image."""

import torch
from torch import nn

from bundle.grid import boxes_in_grid
from bundle.networks.roi_align import roi_align


class RegionProcessor(nn.Module):
    """Region features that have seen the image around them.

    With h_j the patch tokens, e_j the tower's positional embedding of patch j, c the class token, and q the ROI-aligned
    tokens of a box, each layer does

        r <- r + tanh(g) · Attention(query = LN(r) + box, keys and values = LN([c; h_1 + e_1; ...; h_P + e_P]))
        r <- r + tanh(g') · MLP(LN(r))                      (only with `feedforward`)

    from r = q. `box` embeds the place and size of the box by a small MLP; it steers where the region looks, and is not
    itself added to r. The gates g and g' start at 0, so that training starts from plain ROI pooling (as in Flamingo):
    the first step moves the gates alone, and through them the rest. Regions do not see each other.

    Source: RegionMed-CLIP, arXiv 2508.05244v1, names a processor of regions of interest that fuses them with the global
    context by cross-attention; queries, keys, values, gate, number of regions and box embedding are our reading. Gate:
    Alayrac et al., "Flamingo", 2022, section 2.2.

    Args:
        width: W, divisible by `num_heads`.
        num_heads: of the attention.
        layers: how often a region looks.
        feedforward: hidden size of the MLP; None for none.
        dropout: on attention weights and inside the MLP.
    """

    def __init__(
        self, width: int, num_heads: int = 4, layers: int = 1, feedforward: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, width))
        self.image_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([_Look(width, num_heads, feedforward, dropout) for _ in range(layers)])

    def forward(
        self,
        patch_tokens: torch.Tensor,
        class_token: torch.Tensor,
        positions: torch.Tensor,
        boxes: torch.Tensor,
        grid: tuple[int, int],
    ) -> torch.Tensor:
        """Look at the regions of a batch of images; any number of them, also none.

        Args:
            patch_tokens: (B, P, W), `VisionFeatures.patch_tokens`.
            class_token: (B, W), `VisionFeatures.class_token`.
            positions: (P, W), `VisionTower.patch_positions()`.
            boxes: (B, R, 4) as [x0, y0, x1, y1] in the grid frame; NaN rows are padding.
            grid: (Gh, Gw).

        Returns:
            (B, R, W), not normalised; 0 for the rows that `boxes_in_grid` refuses.
        """
        there = boxes_in_grid(boxes, grid)[..., None]  # (B, R, 1)
        place = self.place(_place(boxes.masked_fill(~there, 0), grid).to(patch_tokens.dtype))  # (B, R, W)
        placed = patch_tokens + positions.to(patch_tokens.dtype)
        image = self.image_norm(torch.cat([class_token[:, None], placed], 1))  # (B, 1 + P, W)
        region = roi_align(patch_tokens, boxes, grid)
        for look in self.layers:
            region = look(region, place, image)
        return region.masked_fill(~there, 0)


class _Look(nn.Module):
    """One layer: gated cross-attention, then a gated MLP."""

    def __init__(self, width: int, num_heads: int, feedforward: int | None, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads, dropout, batch_first=True)
        self.gate = nn.Parameter(torch.zeros(()))
        self.mlp: nn.Module | None = None
        if feedforward is not None:
            self.mlp = nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, feedforward),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(feedforward, width),
            )
            self.mlp_gate = nn.Parameter(torch.zeros(()))

    def forward(self, region: torch.Tensor, place: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Regions (B, R, W), their places (B, R, W), the image's tokens (B, 1 + P, W) -> (B, R, W)."""
        seen, _ = self.attention(self.norm(region) + place, image, image, need_weights=False)
        region = region + self.gate.tanh() * seen
        if self.mlp is not None:
            region = region + self.mlp_gate.tanh() * self.mlp(region)
        return region


def _place(boxes: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Centre and size of boxes (..., 4), cut to the image, as fractions of it: (..., 4)."""
    limit = boxes.new_tensor([grid[1], grid[0]]).repeat(2)
    low, high = (torch.minimum(boxes.clamp(min=0), limit) / limit).split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], -1)
