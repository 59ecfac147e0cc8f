"""The two towers, from transformers: CLIP's or another family's, from a folder or built from a config."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    SiglipTextConfig,
)

from bundle.comments import without_comments
from bundle.networks.any_tower import AnyVisionTower, random_tower, tower_from_folder
from bundle.networks.config_fields import config_fields
from bundle.networks.pixel_statistics import statistics_from
from bundle.networks.pretrained import load_pretrained, model_type
from bundle.networks.siglip import SMALLEST, identity, load_siglip, random_siglip
from bundle.networks.siglip_text import SiglipTextTower
from bundle.networks.stem import ConvStem
from bundle.networks.text_encoder import TextEncoder
from bundle.networks.vision_encoder import PATCH_PATHS, Blocks, VisionEncoder, checkpoint_blocks, grid_of
from bundle.networks.vision_encoder import VisionFeatures as VisionFeatures
from bundle.networks.vision_families import FAMILIES, NAMES, SIGLIP, SIGLIP_VISION, pixels_of

logger = logging.getLogger(__name__)


class VisionTower(VisionEncoder):
    """CLIP's image encoder with its projection, giving class and patch tokens.

    Args:
        model: the transformer.
        projection: class token to joint embedding, W -> D.
        image_size: side of the input in pixels. Where it differs from the checkpoint's, the positional table is
            interpolated.

    Raises:
        ValueError: `image_size` is not a multiple of the patch size.
    """

    def __init__(self, model: CLIPVisionModel, projection: nn.Linear, image_size: int) -> None:
        super().__init__()
        self.grid = grid_of(image_size, model.config.patch_size)
        self.model, self.projection = model, projection
        self.image_size = image_size
        self.width = model.config.hidden_size
        trained = model.config.image_size
        self._interpolate = image_size != trained
        if self._interpolate:
            logger.info("CLIP's positions are interpolated from %d px to %d px.", trained, image_size)

    def forward(self, pixels: torch.Tensor) -> VisionFeatures:
        """(B, 3, S, S) -> (B, D), (B, P, W) and (B, W)."""
        with self._normalised() as normalised:
            tokens, levels = self._tokens(pixels)
        return VisionFeatures(self.as_global(tokens[:, 0]), self._patches(tokens, normalised), tokens[:, 0], levels)

    def _tokens(self, pixels: torch.Tensor) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """(B, 1 + P, W), the last block's output, and what each stage of a stem gives."""
        if self.stem is None:
            out = self.model(pixel_values=pixels, interpolate_pos_encoding=self._interpolate)
            return out.last_hidden_state, ()
        # the same, step by step: transformers' embeddings would keep the stem's stages to themselves
        levels = self.stem.levels(pixels)
        embeddings = self.model.embeddings
        patches = self.stem.project(levels[-1]).flatten(2).transpose(1, 2)
        first = embeddings.class_embedding.expand(pixels.shape[0], 1, -1).to(patches.dtype)
        places = torch.cat([embeddings.position_embedding.weight[:1], self.patch_positions()])
        entered = self.model.pre_layrnorm(torch.cat([first, patches], 1) + places)
        return self.model.encoder(inputs_embeds=entered).last_hidden_state, levels

    @property
    def stem(self) -> ConvStem | None:
        """The early-convolution stem, where there is one."""
        embedding = self.model.embeddings.patch_embedding
        return embedding if isinstance(embedding, ConvStem) else None

    def patch_positions(self) -> torch.Tensor:
        """The positional embedding of each patch: (P, W)."""
        embeddings = self.model.embeddings
        table = embeddings.position_embedding.weight  # (1 + P, W)
        if not self._interpolate:
            return table[1:]
        blank = table.new_zeros(1, self.grid[0] * self.grid[1] + 1, table.shape[-1])
        return embeddings.interpolate_pos_encoding(blank, self.image_size, self.image_size)[0, 1:]

    def as_global(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens (..., W) -> (..., D), each judged as if it were the class token."""
        return self.projection(self.model.post_layernorm(tokens))

    @property
    def blocks(self) -> Blocks:
        """Where saliency methods look."""
        model = self.model
        return Blocks(model.encoder.layers, "layer_norm1", "self_attn", "out_proj", "", model.pre_layrnorm, 1)


class TextTower(nn.Module):
    """CLIP's text encoder with its projection.

    Args:
        model: the transformer.
        projection: end-of-text token to joint embedding.
    """

    def __init__(self, model: CLIPTextModel, projection: nn.Linear) -> None:
        super().__init__()
        self.model, self.projection = model, projection

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask -> (N, D) embeddings, not normalised."""
        return self.projection(self.pooled(input_ids, attention_mask))

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask -> (N, H), the end-of-text token after the final LayerNorm: what is projected."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).pooler_output


class CLIPTowers(nn.Module):
    """Both towers and the temperature: CLIP's, or another family's (`bundle.networks.vision_families`).

    SigLIP has a text tower too, and a learned bias of its logits, which is the same on both sides of a prompt pair and
    so changes no probability. The other families have none: their projection into the joint embedding is new, and has
    to be trained.

    Args:
        image_size: side of the vision tower's input in pixels.
        pretrained: folder of a model, of any precision; None gives random weights of the sizes in `vision` and `text`.
        vision: fields of transformers' CLIPVisionConfig; with a `model_type` among them, of that family's. Only with
            `pretrained` None, and needed then.
        text: fields of transformers' CLIPTextConfig (of a SigLIP, SiglipTextConfig), likewise. None builds no text
            tower: the prompts' embeddings are then read with the weights.
        projection_dim: D, of random weights and of families without text tower; where there is a `text_encoder`, its
            D. SigLIP's is its width.
        stem: `channels` (and `depth`) of a `ConvStem` in place of CLIP's patch embedding, for training from scratch.
        with_text: False leaves the text tower out (inference).
        text_encoder: the text tower, in place of the model's own.
        attention: transformers' implementation of the vision tower's, such as "sdpa" or "eager", which training in bf16
            on a CPU is faster with; None is transformers' own choice.
        checkpointing: keep less of the vision tower's blocks for the backward pass and compute it once more there: less
            memory, about a third more time, the same numbers.
        patch_tokens: "block", the last block's output, or "value", its values without attention (`VisionEncoder`).
        pixels: `mean` and `std`, each of three numbers for pixels 0..1, that images are normalised with. None: of CLIP,
            CheXzero's, as published; of others, what preprocessor_config.json in the folder says, else the family's.

    Attributes:
        random: names of the parts whose weights are random, until weights are loaded.
        pixels: likewise; None for CheXzero's.
        logit_bias: SigLIP's, scalar; else None.

    Raises:
        FileNotFoundError: `pretrained` cannot be found.
        ValueError: sizes that do not fit together, a key that is no field, another word for `patch_tokens`, both `text`
            and `text_encoder`, sizes beside `pretrained` or none without it, another model at `pretrained` than a whole
            one of a known family, or a model of which it is not known how its pixels were normalised.
    """

    # CLIP keeps exp(logit_scale) at most 100
    MAX_LOGIT_SCALE = 4.6052

    logit_bias: nn.Parameter | None

    def __init__(
        self,
        image_size: int = 224,
        pretrained: str | None = None,
        vision: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
        projection_dim: int = 512,
        stem: dict[str, Any] | None = None,
        with_text: bool = True,
        text_encoder: TextEncoder | None = None,
        attention: str | None = None,
        patch_tokens: str = "block",
        pixels: Mapping[str, Any] | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if patch_tokens not in PATCH_PATHS:
            raise ValueError(f"CLIPTowers: patch_tokens is {patch_tokens!r}; give one of {', '.join(PATCH_PATHS)}.")
        if text is not None and text_encoder is not None:
            raise ValueError("CLIPTowers: `text` and `text_encoder` both describe the text tower; set one to null.")
        vision = without_comments(vision)
        if text is not None:
            fields = SiglipTextConfig if vision.get("model_type") == SIGLIP else CLIPTextConfig
            text = config_fields("CLIPTowers: text", text, fields)
        if (pretrained is None) != bool(vision) or (pretrained is not None and text is not None):
            raise ValueError(
                f"CLIPTowers: pretrained is {pretrained!r}, vision {vision or None}, text {text}. Give either "
                "`pretrained`, a folder, which says its sizes itself, or in `clip` the sizes of towers of random "
                "weights, `vision` and `text`."
            )
        kind = _kind(pretrained) if pretrained is not None else vision.pop("model_type", CLIPConfig.model_type)
        own_text = with_text and text_encoder is None
        if text_encoder is not None and kind in FAMILIES:
            projection_dim = text_encoder.embedding_dim
        parts = (_clip if kind == CLIPConfig.model_type else _other)(
            kind, image_size, pretrained, vision, text if own_text else None, projection_dim, own_text
        )
        if attention is not None:
            parts.vision.model.set_attn_implementation(attention)
        if checkpointing:
            checkpoint_blocks(parts.vision.model)
        self.vision = parts.vision
        self.vision.patch_path = patch_tokens
        if stem is not None:
            if kind != CLIPConfig.model_type:
                raise ValueError(f"CLIPTowers: a stem takes the place of CLIP's patch embedding, not of a '{kind}'s.")
            embeddings = self.vision.model.embeddings
            embeddings.patch_embedding = ConvStem(
                width=self.vision.width, patch_size=embeddings.patch_size, in_channels=3, **stem
            )
        self.embedding_dim: int = parts.vision.projection.out_features
        self.context_length: int = parts.context_length
        self.text: TextTower | SiglipTextTower | TextEncoder | None = parts.text
        if with_text and text_encoder is not None:
            if text_encoder.embedding_dim != self.embedding_dim:
                raise ValueError(
                    f"The text encoder's embedding_dim is {text_encoder.embedding_dim}, but the vision tower's "
                    f"projection_dim is {self.embedding_dim}; set them to the same number."
                )
            self.text, self.context_length = text_encoder, text_encoder.context_length
        self.logit_scale = nn.Parameter(parts.logit_scale.detach().clone())
        bias = parts.logit_bias
        self.register_parameter("logit_bias", None if bias is None else nn.Parameter(bias.detach().clone()))
        self.pixels = pixels_of(kind, pretrained) if pixels is None else statistics_from(pixels, "CLIPTowers: pixels")
        self.random = _random_parts(self, pretrained, kind)
        self.register_load_state_dict_post_hook(_nothing_is_random)

    def scale(self) -> torch.Tensor:
        """The scalar s = exp(logit scale), at most 100, CLIP's bound; SigLIP has none."""
        most = self.MAX_LOGIT_SCALE if self.logit_bias is None else math.inf
        return self.logit_scale.clamp(max=most).exp().float()


_OWN = (VisionEncoder, TextTower, SiglipTextTower)


def _random_parts(towers: CLIPTowers, pretrained: str | None, kind: str) -> list[str]:
    if pretrained is None:
        return [name for name in ("vision", "text") if isinstance(getattr(towers, name), _OWN)]
    return ["vision.projection"] if kind in FAMILIES else []


def _nothing_is_random(towers: CLIPTowers, _: Any) -> None:
    """After loading."""
    towers.random = []


def _random_config(vision: dict[str, Any], text: dict[str, Any], projection_dim: int) -> CLIPConfig:
    # CLIPTextConfig's default token ids belong to no tokenizer; these are CLIP's (49,408 entries).
    ids = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    shared = {"projection_dim": projection_dim}
    return CLIPConfig(
        vision_config=CLIPVisionConfig(**vision, **shared).to_dict(),
        text_config=CLIPTextConfig(**{**ids, **text}, **shared).to_dict(),
        **shared,
    )


class _Parts(NamedTuple):
    """What towers are made of; `text` is the model's own, None where there is none or it is not wanted."""

    vision: VisionEncoder
    text: TextTower | SiglipTextTower | None
    context_length: int
    logit_scale: torch.Tensor
    logit_bias: torch.Tensor | None = None


def _clip(
    kind: str,
    image_size: int,
    pretrained: str | None,
    vision: dict[str, Any],
    text: dict[str, Any] | None,
    projection_dim: int,
    own_text: bool,
) -> _Parts:
    """CLIP's. Arguments as `CLIPTowers`; `kind` is of the model, `own_text` says whether its text tower is wanted."""
    if pretrained is None:
        vision = config_fields("CLIPTowers: vision", vision, CLIPVisionConfig)
        vision = {"image_size": image_size, **vision}
        own_text = text is not None
        config = _random_config(vision, SMALLEST if text is None else text, projection_dim)
        clip = CLIPModel(config)
    else:
        clip = load_pretrained(CLIPModel, pretrained, () if own_text else ("text_model.", "text_projection."))
    return _Parts(
        VisionTower(clip.vision_model, clip.visual_projection, image_size),
        TextTower(clip.text_model, clip.text_projection) if own_text else None,
        clip.config.text_config.max_position_embeddings,
        clip.logit_scale,
    )


def _other(
    kind: str,
    image_size: int,
    pretrained: str | None,
    vision: dict[str, Any],
    text: dict[str, Any] | None,
    projection_dim: int,
    own_text: bool,
) -> _Parts:
    """Another family's. Arguments as `_clip`."""
    if kind == SIGLIP:
        whole = load_siglip(pretrained, own_text) if pretrained is not None else random_siglip(vision, text, image_size)
        has_text = own_text and (pretrained is not None or text is not None)
        model = whole.vision_model
        tower = AnyVisionTower(FAMILIES[SIGLIP_VISION], model, identity(model.config.hidden_size), image_size)
        scale, bias = whole.logit_scale.reshape(()), whole.logit_bias.reshape(())
        context = whole.config.text_config.max_position_embeddings
        return _Parts(tower, SiglipTextTower(whole.text_model) if has_text else None, context, scale, bias)
    if kind not in FAMILIES:
        raise ValueError(f"CLIPTowers: vision.model_type is '{kind}'; give one of {', '.join(NAMES)}.")
    model = random_tower(kind, vision, image_size) if pretrained is None else tower_from_folder(kind, pretrained)
    projection = nn.Linear(model.config.hidden_size, projection_dim, bias=False)
    # a text tower of random weights, where its sizes are given, and the temperature are CLIP's
    clip = CLIPModel(_random_config(dict(SMALLEST), SMALLEST if text is None else text, projection_dim))
    return _Parts(
        AnyVisionTower(FAMILIES[kind], model, projection, image_size),
        None if text is None else TextTower(clip.text_model, clip.text_projection),
        clip.config.text_config.max_position_embeddings,
        clip.logit_scale,
    )


def _kind(pretrained: str) -> str:
    try:
        kind = model_type(pretrained)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"No CLIP model at '{pretrained}': {error}. Wanted: a folder that transformers' CLIPModel.save_pretrained "
            "wrote (config.json, model.safetensors), such as openai/clip-vit-large-patch14 or CheXzero's ViT-B/32 "
            "converted to it, or one of another family: docs/weights.md has them. On a connected machine: `hf download "
            "openai/clip-vit-large-patch14 --local-dir FOLDER`; then set `pretrained` to FOLDER. For random weights "
            "(tests), set `pretrained` to null and give the sizes in `clip`."
        ) from error
    if kind not in NAMES:
        wanted = (
            f"wanted a '{CLIPConfig.model_type}' or another family that a tower can be made of ({', '.join(NAMES)})"
        )
        why = " A Siglip2 of fixed size has model_type 'siglip'; this one (NaFlex) takes patches, no images."
        raise ValueError(
            f"'{pretrained}' holds a '{kind}' (model_type in config.json); {wanted}.{why * kind.startswith('siglip2')}"
        )
    return kind
