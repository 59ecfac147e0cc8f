"""The vision tower of a trained network, frozen, as a source of image tokens."""

from pathlib import Path

import torch
from torch import nn

from bundle.checkpoints import load_weights
from bundle.fingerprint import file_fingerprint
from bundle.networks.patch_clip import PatchCLIP


class FrozenTower(nn.Module):
    """Image -> tokens [c; h_1 + e_1; ...; h_P + e_P] of a network that stays as it is.

    With c the class token, h_j the patch tokens and e_j the tower's positional embedding of patch j, as
    `bundle.networks.RegionProcessor` takes them. No parameter takes a gradient, all parts stay in eval mode inside
    `train()`, and the tokens hang on no graph.

    Args:
        network: Patch-CLIP, or a network that is one.
        weights: a checkpoint of it, to be read now; None leaves it as it is.
        keep: keep the tokens of each image, by its index, in memory: each is then looked at once in a process, by
            itself, so that its tokens do not depend on the batch. Only where nothing random changes the images
            (`bundle.transforms.augment.is_off`). Images of training and of evaluation are kept apart, because sections
            number theirs from 0.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: the weights do not fit.
    """

    def __init__(self, network: PatchCLIP, weights: str | Path | None = None, keep: bool = False) -> None:
        super().__init__()
        self.fingerprint = ""
        if weights is not None:
            load_weights(network, weights)
            self.fingerprint = file_fingerprint(weights)
        self.network = network.requires_grad_(False)
        self.width = network.clip.vision.width
        self._kept: dict[tuple[bool, int], torch.Tensor] | None = {} if keep else None
        self.train()

    def train(self, mode: bool = True) -> "FrozenTower":
        """As `nn.Module.train`, but the network stays in eval mode."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, image: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """Look at images.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            index: (B,) int64, the images' numbers, for what is kept.

        Returns:
            (B, 1 + P, W).
        """
        if self._kept is None or index is None:
            return self._look(image)
        keys = [(self.training, number) for number in index.tolist()]
        for row, key in enumerate(keys):
            if key not in self._kept:
                self._kept[key] = self._look(image[row : row + 1])[0].cpu()
        return torch.stack([self._kept[key] for key in keys]).to(image.device)

    def _look(self, image: torch.Tensor) -> torch.Tensor:
        features = self.network.features(image)
        positions = self.network.clip.vision.patch_positions().to(features.patch_tokens.dtype)
        return torch.cat([features.class_token[:, None], features.patch_tokens + positions], 1)
