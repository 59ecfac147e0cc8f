"""What a vision tower is to the rest of the network, whatever transformer it is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from bundle.networks.stem import ConvStem

PATCH_PATHS = ("block", "value")
"""What patch tokens are: what leaves the last block, or its values."""


class VisionFeatures(NamedTuple):
    """What the heads need of the vision tower.

    Attributes:
        global_embedding: (B, D), the class token after the final LayerNorm, projected; not normalised.
        patch_tokens: (B, P, W), by the tower's `patch_path`: the last block's output *before* the final LayerNorm, or
            what its attention hands over from each patch alone.
        class_token: (B, W), likewise.
        levels: of a tower with a `ConvStem`, what each of its stages gives; else empty.
    """

    global_embedding: torch.Tensor
    patch_tokens: torch.Tensor
    class_token: torch.Tensor
    levels: Sequence[torch.Tensor] = ()


class Blocks(NamedTuple):
    """Where saliency methods look inside a transformer.

    Attributes:
        layers: the blocks, the first one first.
        norm: name, in a block, of the LayerNorm before its attention.
        attention: name, in a block, of its attention, which gives (output, weights).
        output: name, in the attention, of the matrix after the heads.
        scale: name, in a block, of what scales the attention's output; empty where nothing does.
        entrance: the module whose output enters the first block.
        others: tokens before the patches: the class token, which is the first, and registers.
    """

    layers: Sequence[nn.Module]
    norm: str
    attention: str
    output: str
    scale: str
    entrance: nn.Module
    others: int


class VisionEncoder(nn.Module):
    """A vision transformer with a projection into the joint embedding; an interface.

    Symbols: B images, S the input's side in pixels, P = Gh·Gw patches, W the tokens' width, D the joint embedding.

    Attributes:
        model: the transformer.
        projection: W -> D, without bias.
        image_size: S.
        grid: (Gh, Gw).
        width: W.
        patch_path: one of `PATCH_PATHS`. "block", the paper's: the last block's output. "value": o(v(norm(x))) of what
            enters that block, the value projection and the one after the heads, without queries, keys, residual and
            MLP: no patch has what attention mixes into it from elsewhere. Zhou, Loy, Dai, "Extract Free Dense Labels
            from CLIP" (MaskCLIP), ECCV 2022.
    """

    model: Any
    projection: nn.Linear
    image_size: int
    grid: tuple[int, int]
    width: int
    patch_path: str = PATCH_PATHS[0]

    def forward(self, pixels: torch.Tensor) -> VisionFeatures:
        """(B, 3, S, S) -> (B, D), (B, P, W) and (B, W)."""
        raise NotImplementedError

    def patch_positions(self) -> torch.Tensor:
        """The positional embedding of each patch: (P, W); zeros where positions are not added but rotate."""
        raise NotImplementedError

    def as_global(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (..., W) -> (..., D), each judged as if it were the class token.

        Raises:
            ValueError: the tower has no class token.
        """
        raise NotImplementedError

    @property
    def stem(self) -> ConvStem | None:
        """The early-convolution stem, where there is one."""
        return None

    @property
    def blocks(self) -> Blocks:
        """Where saliency methods look."""
        raise NotImplementedError

    def handed_over(self, normalised: torch.Tensor) -> torch.Tensor:
        """What the last block's attention hands over from each token alone: values without queries and keys.

        Args:
            normalised: (B, T, W), the block's input after its first LayerNorm.

        Returns:
            (B, T, W).
        """
        blocks = self.blocks
        last = blocks.layers[-1]
        attention = getattr(last, blocks.attention)
        values = getattr(attention, blocks.output)(attention.v_proj(normalised))
        return getattr(last, blocks.scale)(values) if blocks.scale else values

    @contextmanager
    def _normalised(self) -> Iterator[list[torch.Tensor]]:
        """What the last block makes its values of, (B, T, W), once the model has run inside; not kept for "block"."""
        kept: list[torch.Tensor] = []
        if self.patch_path != "value":
            yield kept
            return
        blocks, mine = self.blocks, get_ident()

        def keep(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            if get_ident() == mine:  # another thread may look at the same time
                kept.append(output)

        hook = getattr(blocks.layers[-1], blocks.norm).register_forward_hook(keep)
        try:
            yield kept
        finally:
            hook.remove()

    def _patches(self, tokens: torch.Tensor, normalised: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, P, W) by `patch_path`, of the last block's output (B, T, W) and what `_normalised` kept."""
        others = self.blocks.others
        return self.handed_over(normalised[0][:, others:]) if normalised else tokens[:, others:]


def grid_of(image_size: int, patch_size: int) -> tuple[int, int]:
    """(Gh, Gw) of a tower.

    Raises:
        ValueError: `image_size` is not a multiple of the patch size.
    """
    if image_size % patch_size:
        raise ValueError(
            f"The vision tower's patch_size {patch_size} does not divide the downscaler's out_size {image_size}; "
            "choose another out_size or patch_size."
        )
    return (image_size // patch_size, image_size // patch_size)


def checkpoint_blocks(model: PreTrainedModel) -> None:
    """Keep of a transformer's blocks their inputs alone, and compute the rest once more in the backward pass.

    transformers' own, which leaves out what is in eval mode. A frozen tower is (`bundle.networks.freezing`), and passes
    gradients on to the downscaler all the same: so a block's own flag, which says nothing else, follows the gradients.
    """
    model.activation_checkpointing_enable({"use_reentrant": False})
    for block in model.modules():
        if isinstance(block, GradientCheckpointingLayer):
            block.register_forward_pre_hook(_where_gradients_are)


def _where_gradients_are(block: nn.Module, _: Any) -> None:
    block.training = torch.is_grad_enabled()
