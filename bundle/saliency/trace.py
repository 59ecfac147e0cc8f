"""One pass through the vision tower that keeps what saliency methods read, and leaves the network as it was.

Symbols: B images, K findings, P = Gh·Gw patches, W vision width, D joint embedding, L blocks, T = N + P tokens: N
before the patches, of which number 0 is the class token and others are registers; SigLIP has none, N = 0.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from bundle.networks import PatchCLIP
from bundle.networks.heads import pair_logits
from bundle.prompt_pair import FINDING, NEGATIVE
from bundle.saliency.attention import eager_attention


class Trace(NamedTuple):
    """What one pass left behind.

    Attributes:
        margin: (B, K), `margins` of the class token's embedding: what the gradients are of.
        inputs: for each block (B, T, W), what enters it.
        normalised: for each block (B, T, W), its input after its first LayerNorm, of which it makes queries, keys
            and values.
        attention: for each block (B, heads, T, T), row token attending to column token, rows summing to 1.
            Empty where it was not asked for.
        patch_tokens: (B, P, W), the last block's output before the final LayerNorm.
        others: N.
    """

    margin: torch.Tensor
    inputs: list[torch.Tensor]
    normalised: list[torch.Tensor]
    attention: list[torch.Tensor]
    patch_tokens: torch.Tensor
    others: int = 1

    def gradients(self, activations: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, ...]]:
        """∂m_k / ∂activation for k = 1..K, one backward pass a finding and all images in it.

        The margins are summed over the batch: image b's depends on image b's activations alone.

        Yields:
            K times, a gradient of the shape of each activation.
        """
        count = self.margin.shape[1]
        for k in range(count):
            this = torch.zeros_like(self.margin)
            this[:, k] = 1
            yield torch.autograd.grad(self.margin, list(activations), this, retain_graph=k + 1 < count)


def margins(network: PatchCLIP, embedding: torch.Tensor) -> torch.Tensor:
    """Logit margin of each finding, m_k = s (⟨e, t⁺_k⟩ − ⟨e, t⁻_k⟩); its sigmoid is the network's probability.

    Args:
        network: whose prompts and temperature s are used.
        embedding: (..., D), of any length; e is its unit vector.

    Returns:
        (..., K) float32.
    """
    logits = pair_logits(F.normalize(embedding.float(), dim=-1), network.prompts(), network.scale())  # (..., K, 2)
    return logits[..., FINDING] - logits[..., NEGATIVE]


@contextmanager
def tracing(
    network: PatchCLIP, image: torch.Tensor, attention: bool = False, gradient: bool = False
) -> Iterator[Trace]:
    """Look at radiographs and keep what was seen on the way; the body of the `with` works on it.

    Inside: float32 whatever the caller's autocast; dropout off and batch statistics fixed; no gradient is recorded but
    the tower's, from the first block's input to `margin`, whether or not parameters are frozen and whether or not the
    caller records any. Afterwards, also after an exception, modes, hooks and attention are as they were, and no
    parameter has got a gradient.

    Args:
        network: any PatchCLIP. Not to be used by another thread meanwhile.
        image: (B, 1, Hc, Wc) float, 0..1, the canvas.
        attention: keep the attention weights, which needs transformers' eager attention.
        gradient: make `Trace.gradients` possible.

    Raises:
        ValueError: attention is asked of a tower without class token.
    """
    tower = network.clip.vision
    blocks = tower.blocks
    if attention and not blocks.others:
        raise ValueError(
            f"The vision tower, a '{tower.model.config.model_type}', has no class token: no token's attention stands "
            "for the image, and there are no saliency maps by attention (rollout, relevance). Grad-CAM works."
        )
    inputs: list[torch.Tensor] = []
    normalised: list[torch.Tensor] = []
    weights: list[torch.Tensor] = []
    last: list[torch.Tensor] = []

    def keep_input(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs.append(args[0])
        normalised.append(output)

    def keep_attention(_: nn.Module, args: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        weights.append(output[1])

    def keep_output(_: nn.Module, args: Any, output: Any) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as around:
        around.enter_context(torch.inference_mode(False))
        around.enter_context(torch.no_grad())
        around.enter_context(torch.autocast(image.device.type, enabled=False))
        around.enter_context(_evaluating(network))
        if attention:
            around.enter_context(eager_attention(tower.model))
        with ExitStack() as hooks:
            for block in blocks.layers:
                hooks.callback(getattr(block, blocks.norm).register_forward_hook(keep_input).remove)
                if attention:
                    hooks.callback(getattr(block, blocks.attention).register_forward_hook(keep_attention).remove)
            hooks.callback(blocks.layers[-1].register_forward_hook(keep_output).remove)
            pixels = network.downscaler(network.normalised(image.float()))
            if gradient:
                hooks.callback(blocks.entrance.register_forward_hook(_begin).remove)
                hooks.enter_context(torch.enable_grad())
            features = tower(pixels)
            margin = margins(network, features.global_embedding)  # (B, K)
        yield Trace(margin, inputs, normalised, weights, last[0][:, blocks.others :], blocks.others)


def _begin(_: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    """Gradients are recorded from here on: nothing before it (stem, downscaler) is kept in memory for them."""
    return output.detach().requires_grad_()


@contextmanager
def _evaluating(network: PatchCLIP) -> Iterator[None]:
    """All parts in eval mode, each put back to its own.

    The network's own flag stays: it says whether its prompts may be cached, and a cache made in the middle of a
    training would outlive the text tower's next step.
    """
    modes = [(module, module.training) for module in network.modules() if module is not network]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training
