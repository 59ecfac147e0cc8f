"""Patch-CLIP: whether a finding is there, and where. This file only composes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.comments import arguments_in
from bundle.networks.clip import CLIPTowers, VisionFeatures
from bundle.networks.downscaler import Downscaler
from bundle.networks.fine_grid import FineGrid
from bundle.networks.freezing import Freezing
from bundle.networks.heads import (
    ContrastiveProjection,
    PooledHead,
    SparseHead,
    finding_probability,
    own_pair_logits,
    pair_logits,
)
from bundle.networks.image_score import ImageScore
from bundle.networks.local_normalisation import LocalNormalisation
from bundle.networks.named_state import names_from_state, names_to_tensor
from bundle.networks.pixel_statistics import pixel_tensors
from bundle.networks.prompts import Prompts, average_prompts
from bundle.networks.selection import PatchSelection, of_like_size
from bundle.networks.separate_prompts import separate_prompts as set_apart
from bundle.networks.text_bank import TextBank, evaluating
from bundle.prompt_pair import FINDING


class PatchCLIP(nn.Module):
    """Downscaler -> CLIP's vision tower -> global, pooled, sparse and patch embeddings, against prompt pairs.

    Source: Patch-CLIP, Scientific Reports 16, 14688 (2026), doi 10.1038/s41598-026-52235-x. docs/design.md maps each
    equation to its class and lists the departures.

    Symbols: B images, K findings, P = Gh·Gw patches, D joint embedding, side 0 "no {finding}" and 1 "{finding}".

    Two departures are options. With `patch_factor` the patches are finer than the tower's (`FineGrid`), and so are the
    maps and all that is said of patches below; detail comes from the stem's stage of that size, or from the
    downscaler's hidden features where the tower has no such stem. With `patch_prior` = π a patch's logit of the finding
    is s⟨p, t+⟩ + b, with a learned b that starts at log(π / (1 - π)): almost all patches are negative (Lin et al.,
    "Focal Loss for Dense Object Detection", 2017, section 4.1).

    Args:
        findings: names of the K findings, in the order of every K axis.
        downscaler: shrinks the canvas; its `out_size` is the vision tower's input.
        clip: the towers.
        tokenizer: transformers tokenizer for the prompts; needed if `clip` has a text tower.
        prompts: `positive`, `negative`, `names` of `bundle.networks.prompts.Prompts`.
        sparse: arguments of `SparseHead` and, under "selection", of `PatchSelection`.
        image_score: arguments of `ImageScore`: which score classifies an image.
        trainable: name patterns (fnmatch, against parameter names) of what trains; the rest is frozen, stays in
            eval mode inside `train()`, and lets gradients through. None trains everything.
        init_projection_from_clip: start W_c as CLIP's visual projection (both are W -> D).
        patch_factor: patches along a side for one of the tower's; 1 is the paper's.
        patch_prior: see above, in 0..1; None, the paper's, has no bias.
        separate_prompts: start from a text projection that makes the prompts orthonormal
            (`bundle.networks.separate_prompts`); False is the paper's.
        local_normalisation: arguments of `LocalNormalisation`, before CheXzero's; None leaves it out.

    Attributes:
        grid: (Gh, Gw) of the maps.
        has_prompts: whether the prompt pairs are known, by a text tower or by weights that were loaded.

    Raises:
        ValueError: parts that do not fit together; a pattern that matches nothing; a text tower without tokenizer.
    """

    prompt_embeddings: torch.Tensor
    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        findings: Sequence[str],
        downscaler: Downscaler,
        clip: CLIPTowers,
        tokenizer: Any = None,
        prompts: Mapping[str, Any] | None = None,
        sparse: Mapping[str, Any] | None = None,
        image_score: Mapping[str, Any] | None = None,
        trainable: Sequence[str] | None = None,
        init_projection_from_clip: bool = False,
        patch_factor: int = 1,
        patch_prior: float | None = None,
        separate_prompts: bool = False,
        local_normalisation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if clip.vision.image_size != downscaler.out_size:
            raise ValueError(
                f"The downscaler gives {downscaler.out_size} px but clip.image_size is {clip.vision.image_size}; "
                "set them to the same number."
            )
        self.findings = list(findings)
        self.downscaler, self.clip = downscaler, clip
        self.fine, self._level = _fine_grid(downscaler, clip, patch_factor)
        self.grid = clip.vision.grid if self.fine is None else self.fine.grid
        self.patch_bias = _patch_bias(patch_prior)
        width, dim, k = clip.vision.width, clip.embedding_dim, len(self.findings)
        self.projection = ContrastiveProjection(width, dim)
        if init_projection_from_clip:
            self.projection.linear.load_state_dict(clip.vision.projection.state_dict())
        self.pooled = PooledHead(self.grid[0] * self.grid[1])
        sparse = dict(sparse or {})
        self.selection = PatchSelection(k, **sparse.pop("selection", {}))
        self.sparse = SparseHead(width, **sparse)
        self.image_score = ImageScore(**arguments_in("image_score", image_score, ImageScore))
        self.local_normalisation = LocalNormalisation.of(local_normalisation)
        mean, std = pixel_tensors(clip.pixels)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_std", std, persistent=False)

        sides = [side for pair in Prompts(self.findings, **(prompts or {})).texts() for side in pair]
        self._prompt_counts = [len(side) for side in sides]
        self.register_buffer("prompt_embeddings", torch.zeros(k, 2, dim))
        self._prompts_current = False
        self.has_prompts = clip.text is not None  # else they come with the weights
        self.prompt_bank: TextBank | None = None
        if clip.text is not None:
            if tokenizer is None:
                raise ValueError(
                    "PatchCLIP: a text tower needs a tokenizer; give `tokenizer`, or `text: null` in clip."
                )
            texts = [text for side in sides for text in side]
            distinct = list(dict.fromkeys(texts))
            self._prompt_numbers = torch.tensor([distinct.index(text) for text in texts])
            self.prompt_bank = TextBank(distinct, tokenizer, clip.text, clip.context_length)
            if separate_prompts:
                with torch.no_grad(), evaluating(clip):
                    set_apart(clip.text.projection, self.prompt_bank.pooled(self._prompt_numbers), self._prompt_counts)
        self.freezing = Freezing(self, trainable)
        self.register_state_dict_pre_hook(_refresh_prompts)
        self.register_load_state_dict_pre_hook(_reconcile)

    def train(self, mode: bool = True) -> "PatchCLIP":
        """As `nn.Module.train`, but frozen parts stay in eval mode."""
        super().train(mode)
        self.freezing.apply()
        if mode and self._text_trains():
            self._prompts_current = False
        return self

    def forward(
        self,
        image: torch.Tensor,
        patch_mask: torch.Tensor | None = None,
        full: bool = False,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor | dict[str, Any]:
        """Look at radiographs.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            patch_mask: (B, K, Gh, Gw) bool, the boxed patches; chooses what the sparse head sees in training.
            full: return everything instead of the maps.
            input_ids: (B, L) reports as token ids: the output is then what report pretraining needs.
            attention_mask: (B, L), with `input_ids`.

        Returns:
            The patch probabilities, float32 (B, K, Gh, Gw), in the grid frame.

            With `input_ids`, a dict: `global_embedding` (B, D), `text_embedding` (B, D), both of unit length, and
            `logit_scale`, the scalar s.

            With `full`, a dict (float32 but `sparse_valid`; embeddings of unit length; logits s·⟨e, t⟩, of SigLIP + b):

            - `pred`: (B, K, Gh, Gw) patch probabilities, the maps;
            - `global_embedding`, `pooled_embedding`: (B, D); `sparse_embedding`: (B, K, D); `patch_embedding`:
              (B, P, D);
            - `global_logits`, `pooled_logits`, `sparse_logits`: (B, K, 2); `patch_logits`: (B, K, P, 2);
            - `sparse_valid`: (B, K) bool, False where no patch was selected and the sparse score is absent;
            - `scores`: dict of (B, K) probabilities `global`, `pooled`, `sparse` (NaN where absent), `patch` (the best
              patch's), and `image`, the configured one.
        """
        features = self.features(image)
        if input_ids is not None:
            if self.clip.text is None:
                raise ValueError("PatchCLIP was built without a text tower; it cannot read reports.")
            return {
                "global_embedding": F.normalize(features.global_embedding.float(), dim=-1),
                "text_embedding": F.normalize(self.clip.text(input_ids, attention_mask).float(), dim=-1),
                "logit_scale": self.scale(),
            }
        features = self.refined(features)
        patch_embedding = self.projection(features.patch_tokens)  # (B, P, D)
        return self.read(features, patch_embedding, patch_mask) if full else self.maps(patch_embedding)

    def features(self, image: torch.Tensor) -> VisionFeatures:
        """The vision tower's tokens of images (B, 1, Hc, Wc); a step of `forward`, for subclasses."""
        hidden = self.downscaler.begin(self.normalised(image))
        features = self.clip.vision(self.downscaler.finish(hidden))
        return features._replace(levels=features.levels or (hidden,)) if self.fine is not None else features

    def refined(self, features: VisionFeatures) -> VisionFeatures:
        """The features with patch tokens on the maps' grid; a step of `forward`, for subclasses."""
        if self.fine is None:
            return features
        return features._replace(patch_tokens=self.fine(features.patch_tokens, features.levels[self._level]))

    def patch_positions(self) -> torch.Tensor:
        """The positional embedding of each patch of the maps' grid: (P, W)."""
        positions = self.clip.vision.patch_positions()
        return positions if self.fine is None else self.fine.positions(positions)

    def normalised(self, image: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, Hc, Wc), 0..1, as the downscaler gets them; a step of `forward`, for subclasses."""
        if self.local_normalisation is not None:
            image = self.local_normalisation(image)
        return (image - self.pixel_mean) / self.pixel_std

    def scale(self) -> torch.Tensor:
        """The scalar s = exp(logit scale), at most CLIP's 100."""
        return self.clip.scale()

    def maps(self, patch_embedding: torch.Tensor) -> torch.Tensor:
        """Patch embeddings (B, P, D) -> patch probabilities (B, K, Gh, Gw); a step of `forward`, for subclasses."""
        logits = self._patch_logits(patch_embedding, self.prompts(), self.scale())
        return finding_probability(logits).unflatten(-1, self.grid)

    def _patch_logits(self, patch_embedding: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """(B, P, D), (K, 2, D) and s -> (B, K, P, 2)."""
        logits = pair_logits(patch_embedding, prompts, scale, self.clip.logit_bias).transpose(1, 2)
        if self.patch_bias is None:
            return logits
        return logits + F.pad(self.patch_bias.float().reshape(1), (FINDING, 0))  # (2,): 0 on the side "no"

    def read(
        self, features: VisionFeatures, patch_embedding: torch.Tensor, patch_mask: torch.Tensor | None
    ) -> dict[str, Any]:
        """The full output of `forward`, which lists it; a step of `forward`, for subclasses.

        Args:
            features: of the images.
            patch_embedding: (B, P, D), unit length, of every patch.
            patch_mask: as for `forward`.
        """
        prompts, scale, bias = self.prompts(), self.scale(), self.clip.logit_bias
        patch_logits = self._patch_logits(patch_embedding, prompts, scale)  # (B, K, P, 2)
        probability = finding_probability(patch_logits)  # (B, K, P)
        global_embedding = F.normalize(features.global_embedding.float(), dim=-1)  # (B, D)
        pooled_embedding = self.projection(self.pooled(features.patch_tokens))  # (B, D)
        sparse_embedding, sparse_valid = self._look_sparsely(features.patch_tokens, probability, patch_mask)
        output: dict[str, Any] = {
            "pred": probability.unflatten(-1, self.grid),
            "global_embedding": global_embedding,
            "pooled_embedding": pooled_embedding,
            "sparse_embedding": sparse_embedding,
            "patch_embedding": patch_embedding,
            "global_logits": pair_logits(global_embedding, prompts, scale, bias),
            "pooled_logits": pair_logits(pooled_embedding, prompts, scale, bias),
            "sparse_logits": own_pair_logits(sparse_embedding, prompts, scale, bias),
            "patch_logits": patch_logits,
            "sparse_valid": sparse_valid,
        }
        output["scores"] = self.image_score(
            {
                "global": finding_probability(output["global_logits"]),
                "pooled": finding_probability(output["pooled_logits"]),
                "sparse": finding_probability(output["sparse_logits"]).masked_fill(~sparse_valid, torch.nan),
                "patch": probability.amax(-1),
            }
        )
        return output

    def _look_sparsely(
        self, tokens: torch.Tensor, probability: torch.Tensor, patch_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, P, W), probabilities (B, K, P) -> sparse embedding (B, K, D) and whether it exists (B, K)."""
        b, k, _ = probability.shape
        mask = None if patch_mask is None else patch_mask.flatten(2).bool()
        index, valid, sizes = self.selection(probability, mask)
        placed = tokens + self.patch_positions().to(tokens.dtype)  # (B, P, W)
        image = torch.arange(b, device=tokens.device)[:, None].expand(b, k)
        seen = self._sparsely(placed, image.flatten(), index.flatten(0, 1), valid.flatten(0, 1), sizes)
        embedding = self.projection(seen).unflatten(0, (b, k))
        return embedding, valid.any(-1)

    def _sparsely(
        self,
        placed: torch.Tensor,
        image: torch.Tensor,
        index: torch.Tensor,
        valid: torch.Tensor,
        sizes: Sequence[int] | None,
    ) -> torch.Tensor:
        """Tokens (B, P, W), of N sets `image` (N,), `index`, `valid` (N, n) -> (N, W); sets of like size at once."""
        groups = [] if sizes is None else of_like_size(sizes)
        if len(groups) < 2:
            return self.sparse(placed[image[:, None], index], valid)
        seen, order = [], torch.tensor([n for numbers, _ in groups for n in numbers], device=image.device)
        for rows, (_, n) in zip(order.split([len(numbers) for numbers, _ in groups]), groups, strict=True):
            seen.append(self.sparse(placed[image[rows, None], index[rows, :n]], valid[rows, :n]))
        return torch.cat(seen)[order.argsort()]

    def prompts(self) -> torch.Tensor:
        """Prompt embeddings (K, 2, D), unit length: kept while the text tower does not train.

        Of a tower of which only the projection trains, what is projected is kept.
        """
        if self.clip.text is None or self._prompts_current:
            return self.prompt_embeddings
        if self.training and self._text_trains():
            return self._encode_prompts()
        self._cache_prompts()
        return self.prompt_embeddings

    def _encode_prompts(self) -> torch.Tensor:
        if self.prompt_bank is None:
            return self.prompt_embeddings
        return average_prompts(self.prompt_bank(self._prompt_numbers), self._prompt_counts)

    @torch.no_grad()
    def _cache_prompts(self) -> None:
        # in float32 whatever the caller's autocast: those that are saved, outside it, are the same; and without the
        # dropout of a text tower that trains, which is noise to whoever reads them
        with evaluating(self.clip), torch.autocast(self.prompt_embeddings.device.type, enabled=False):
            self.prompt_embeddings.copy_(self._encode_prompts())
        self._prompts_current = True

    def _text_trains(self) -> bool:
        return self.clip.text is not None and any(p.requires_grad for p in self.clip.text.parameters())

    def get_extra_state(self) -> torch.Tensor:
        """The findings go with the weights, so that weights are never read for another list."""
        return names_to_tensor(self.findings)

    def set_extra_state(self, state: torch.Tensor | Mapping[str, list[str]]) -> None:
        """Refuse weights of other findings, unless the text tower makes their prompts anew."""
        findings = names_from_state(state)
        if self.clip.text is None and findings != self.findings:
            raise ValueError(
                f"These weights are for the findings {findings}, but the configuration says {self.findings}. "
                "Without a text tower the prompts cannot be made anew: set `findings` to the weights' list."
            )
        self._prompts_current = False
        self.has_prompts = self.has_prompts or bool(self.prompt_embeddings.any())


def _fine_grid(downscaler: Downscaler, clip: CLIPTowers, factor: int) -> tuple[FineGrid | None, int]:
    """The fine grid, and which of `VisionFeatures.levels` it takes its detail from."""
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        raise ValueError(f"patch_factor is {factor!r}; give a whole number, 1 (the tower's grid) or more.")
    if factor == 1:
        return None, 0
    tower = clip.vision
    if tower.stem is None:
        level, channels, size = 0, downscaler.hidden_channels, downscaler.hidden_size
    else:
        sizes = [tower.image_size >> (i + 1) for i in range(len(tower.stem.channels))]
        wanted = tower.grid[0] * factor
        level = sizes.index(wanted) if wanted in sizes else 0
        channels, size = tower.stem.channels[level], sizes[level]
    return FineGrid(tower.width, tower.grid, factor, channels, size), level


def _patch_bias(prior: float | None) -> nn.Parameter | None:
    if prior is None:
        return None
    if not 0 < prior < 1:
        raise ValueError(f"patch_prior is {prior}; give a probability between 0 and 1, or null for no bias.")
    return nn.Parameter(torch.tensor(float(prior)).logit())


def _refresh_prompts(module: PatchCLIP, *_: Any) -> None:
    """Before saving: the stored prompt embeddings belong to the stored text tower."""
    if module.clip.text is not None:
        module._cache_prompts()
        module._prompts_current = not (module.training and module._text_trains())


def _reconcile(module: PatchCLIP, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before loading: drop what this configuration does not take from a checkpoint, fill in what it adds.

    A network without text tower leaves the checkpoint's; one with it makes its own prompts. Fixed weights of the image
    score are configuration.
    """
    theta = f"{prefix}image_score.theta"
    if not module.image_score.learned:
        state.pop(theta, None)
    else:
        state.setdefault(theta, module.image_score.theta.detach())
    if module.clip.text is None:
        for key in [k for k in state if k.startswith(f"{prefix}clip.text.")]:
            del state[key]
        return
    # other findings or prompts than the checkpoint's: these two follow K, and are made anew
    state[f"{prefix}prompt_embeddings"] = module.prompt_embeddings
    size = state.get(f"{prefix}selection.running_size")
    if size is not None and size.shape != module.selection.running_size.shape:
        state[f"{prefix}selection.running_size"] = torch.zeros_like(module.selection.running_size)
