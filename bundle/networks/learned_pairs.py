"""Patch-CLIP without words: a linear head in place of the prompts. Does the text matter?"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.networks.freezing import Freezing
from bundle.networks.patch_clip import PatchCLIP


class LearnedPairs(PatchCLIP):
    """`PatchCLIP` whose K pairs of unit vectors are parameters, not embeddings of "no {finding}" and "{finding}".

    softmax(s⟨e, t⁻⟩, s⟨e, t⁺⟩)[1] = sigmoid(s⟨e, t⁺ − t⁻⟩) is then a linear layer without bias on the embeddings of
    patches and image; the rest of the network, its losses and its outputs are the same. It knows its K findings and can
    be asked for no other. A text tower, if there is one, is not asked.

    Args:
        arguments: of `PatchCLIP`.
        trainable: as `PatchCLIP` takes it; without "pairs" the head stays random.

    Attributes:
        pairs: (K, 2, D), side 0 absent and 1 present, of any length; they start random. Weights without them, such as
            those of a pretraining, leave them as they are.

    Raises:
        ValueError: as `PatchCLIP`.
    """

    def __init__(self, *arguments: Any, trainable: Sequence[str] | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.pairs = nn.Parameter(torch.randn(len(self.findings), 2, self.clip.embedding_dim))
        self.has_prompts = True
        self.freezing = Freezing(self, trainable)
        self.register_load_state_dict_pre_hook(_keep_pairs)

    def prompts(self) -> torch.Tensor:
        """The pairs (K, 2, D), unit length."""
        return F.normalize(self.pairs.float(), dim=-1)


def _keep_pairs(module: LearnedPairs, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before loading: weights of a network with prompts say nothing about the pairs."""
    state.setdefault(f"{prefix}pairs", module.pairs.detach())
