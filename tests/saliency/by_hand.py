"""The vision tower from its first block to the logit margins, written anew in float64: the references' own network."""

import copy

import torch

BLOCK = "clip.vision.model.encoder.layers"


class HandWritten:
    """A PatchCLIP's blocks, final LayerNorm, projection and prompt pairs, read from its weights.

    Args:
        network: whose weights to take. Activation is quick GELU, CLIP's default.
    """

    def __init__(self, network):
        double = copy.deepcopy(network).double().eval()
        self.weights = {k: v.detach() for k, v in double.state_dict().items() if isinstance(v, torch.Tensor)}
        self.heads = network.clip.vision.model.config.num_attention_heads
        self.count = len(network.clip.vision.model.encoder.layers)
        self.double = double

    @torch.no_grad()
    def entrance(self, image):
        """What enters the first block: (B, 1 + P, W)."""
        net = self.double
        pixels = net.downscaler((image.double() - net.pixel_mean) / net.pixel_std)
        return net.clip.vision.model(pixel_values=pixels, output_hidden_states=True).hidden_states[0]

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdim=True)
        unit = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return unit * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def first_norm(self, hidden, number):
        return self.norm(hidden, f"{BLOCK}.{number}.layer_norm1")

    def block(self, hidden, number, normalised=None):
        """One block: (B, T, W) -> the same and its attention (B, heads, T, T)."""
        name = f"{BLOCK}.{number}"
        x = self.first_norm(hidden, number) if normalised is None else normalised
        query, key, value = (
            self.linear(x, f"{name}.self_attn.{which}_proj").unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for which in "qkv"
        )
        attention = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        hidden = hidden + self.linear(mixed, f"{name}.self_attn.out_proj")
        inner = self.linear(self.norm(hidden, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        return hidden + self.linear(inner * torch.sigmoid(1.702 * inner), f"{name}.mlp.fc2"), attention

    def run(self, hidden, start=0, normalised=None):
        """From the entrance of block `start`: (B, T, W) -> the last output and all attentions from there."""
        attentions = []
        for number in range(start, self.count):
            hidden, attention = self.block(hidden, number, normalised if number == start else None)
            attentions.append(attention)
        return hidden, attentions

    def margins(self, tokens):
        """Tokens before the final LayerNorm (..., W) -> logit margins (..., K)."""
        embedding = self.linear(self.norm(tokens, "clip.vision.model.post_layernorm"), "clip.vision.projection")
        embedding = embedding / embedding.norm(dim=-1, keepdim=True)
        absent, present = self.weights["prompt_embeddings"].unbind(1)
        return self.weights["clip.logit_scale"].exp() * embedding @ (present - absent).T
