"""CLIP's two towers, from transformers: pretrained from a folder, or built from a config."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from bundle.networks.config_fields import config_fields
from bundle.networks.pretrained import load_pretrained, model_type
from bundle.networks.stem import ConvStem
from bundle.networks.text_encoder import TextEncoder


class VisionFeatures(NamedTuple):
    """What the heads need of the vision tower.

    Attributes:
        global_embedding: (B, D), the class token after the final LayerNorm, projected; not normalised.
        patch_tokens: (B, P, W), the last block's output *before* the final LayerNorm.
        class_token: (B, W), likewise.
        levels: of a tower with a `ConvStem`, what each of its stages gives; else empty.
    """

    global_embedding: torch.Tensor
    patch_tokens: torch.Tensor
    class_token: torch.Tensor
    levels: Sequence[torch.Tensor] = ()


class VisionTower(nn.Module):
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
        patch_size = model.config.patch_size
        if image_size % patch_size:
            raise ValueError(
                f"The vision tower's patch_size {patch_size} does not divide the downscaler's out_size {image_size}; "
                "choose another out_size or patch_size."
            )
        self.model, self.projection = model, projection
        self.image_size = image_size
        self.grid = (image_size // patch_size, image_size // patch_size)
        self.width: int = model.config.hidden_size
        self._interpolate = image_size != model.config.image_size

    def forward(self, pixels: torch.Tensor) -> VisionFeatures:
        """(B, 3, S, S) -> (B, D), (B, P, W) and (B, W)."""
        levels: Sequence[torch.Tensor] = ()
        if self.stem is None:
            out = self.model(pixel_values=pixels, interpolate_pos_encoding=self._interpolate)
            tokens, pooled = out.last_hidden_state, out.pooler_output
        else:  # the same, step by step: transformers' embeddings would keep the stem's stages to themselves
            levels = self.stem.levels(pixels)
            embeddings = self.model.embeddings
            patches = self.stem.project(levels[-1]).flatten(2).transpose(1, 2)
            first = embeddings.class_embedding.expand(pixels.shape[0], 1, -1).to(patches.dtype)
            places = torch.cat([embeddings.position_embedding.weight[:1], self.patch_positions()])
            entered = self.model.pre_layrnorm(torch.cat([first, patches], 1) + places)
            tokens = self.model.encoder(inputs_embeds=entered).last_hidden_state
            pooled = self.model.post_layernorm(tokens[:, 0])
        return VisionFeatures(self.projection(pooled), tokens[:, 1:], tokens[:, 0], levels)

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
    """Both towers and CLIP's temperature.

    Args:
        image_size: side of the vision tower's input in pixels.
        pretrained: folder of a CLIP model, of any precision; None gives random weights of the sizes in `vision` and
            `text`.
        vision: fields of transformers' CLIPVisionConfig. Only with `pretrained` None, and needed then.
        text: fields of transformers' CLIPTextConfig, likewise. None builds no text tower: the prompts' embeddings are
            then read with the weights.
        projection_dim: D, likewise.
        stem: `channels` (and `depth`) of a `ConvStem` in place of the patch embedding, for training from scratch.
        with_text: False leaves the text tower out (inference).
        text_encoder: the text tower, in place of CLIP's.
        attention: transformers' implementation of the vision tower's, such as "sdpa" or "eager", which training in bf16
            on a CPU is faster with; None is transformers' own choice.

    Attributes:
        random: names of the towers whose weights are random, until weights are loaded.

    Raises:
        FileNotFoundError: `pretrained` cannot be found.
        ValueError: sizes that do not fit together, a key that is no field, both `text` and `text_encoder`, sizes beside
            `pretrained` or none without it, or another model at `pretrained` than a whole CLIP.
    """

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
    ) -> None:
        super().__init__()
        if text is not None and text_encoder is not None:
            raise ValueError("CLIPTowers: `text` and `text_encoder` both describe the text tower; set one to null.")
        vision = config_fields("CLIPTowers: vision", vision, CLIPVisionConfig)
        text = None if text is None else config_fields("CLIPTowers: text", text, CLIPTextConfig)
        if (pretrained is None) != bool(vision) or (pretrained is not None and text is not None):
            raise ValueError(
                f"CLIPTowers: pretrained is {pretrained!r}, vision {vision or None}, text {text}. Give either "
                "`pretrained`, a folder, which says its sizes itself, or in `clip` the sizes of towers of random "
                "weights, `vision` and `text`."
            )
        clip_text = with_text and text_encoder is None
        if pretrained is None:
            vision = {"image_size": image_size, **vision}
            clip_text = clip_text and text is not None
            config = _random_config(vision, text if clip_text and text is not None else _SMALLEST, projection_dim)
            clip = CLIPModel(config)
        else:
            clip = _load(pretrained, () if clip_text else ("text_model.", "text_projection."))
        if attention is not None:
            clip.vision_model.set_attn_implementation(attention)
        self.vision = VisionTower(clip.vision_model, clip.visual_projection, image_size)
        if stem is not None:
            embeddings = self.vision.model.embeddings
            embeddings.patch_embedding = ConvStem(
                width=self.vision.width, patch_size=embeddings.patch_size, in_channels=3, **stem
            )
        self.embedding_dim: int = clip.config.projection_dim
        self.context_length: int = clip.config.text_config.max_position_embeddings
        self.text: TextTower | TextEncoder | None = None
        if clip_text:
            self.text = TextTower(clip.text_model, clip.text_projection)
        elif with_text and text_encoder is not None:
            if text_encoder.embedding_dim != self.embedding_dim:
                raise ValueError(
                    f"The text encoder's embedding_dim is {text_encoder.embedding_dim}, but the vision tower's "
                    f"projection_dim is {self.embedding_dim}; set them to the same number."
                )
            self.text, self.context_length = text_encoder, text_encoder.context_length
        self.logit_scale = nn.Parameter(clip.logit_scale.detach().clone())
        self.random = [
            name for name in ("vision", "text") if pretrained is None and isinstance(getattr(self, name), _OWN)
        ]
        self.register_load_state_dict_post_hook(_nothing_is_random)


_OWN = (VisionTower, TextTower)


def _nothing_is_random(towers: CLIPTowers, _: Any) -> None:
    """After loading."""
    towers.random = []


_SMALLEST = {"hidden_size": 1, "num_hidden_layers": 0, "num_attention_heads": 1, "intermediate_size": 1}


def _random_config(vision: dict[str, Any], text: dict[str, Any], projection_dim: int) -> CLIPConfig:
    # CLIPTextConfig's default token ids belong to no tokenizer; these are CLIP's (49,408 entries).
    ids = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    shared = {"projection_dim": projection_dim}
    return CLIPConfig(
        vision_config=CLIPVisionConfig(**vision, **shared).to_dict(),
        text_config=CLIPTextConfig(**{**ids, **text}, **shared).to_dict(),
        **shared,
    )


def _load(pretrained: str, may_lack: Sequence[str]) -> CLIPModel:
    try:
        kind = model_type(pretrained)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"No CLIP model at '{pretrained}': {error}. Wanted: a folder that transformers' CLIPModel.save_pretrained "
            "wrote (config.json, model.safetensors), such as openai/clip-vit-large-patch14 or CheXzero's ViT-B/32 "
            "converted to it. On a connected machine: `hf download openai/clip-vit-large-patch14 --local-dir FOLDER`; "
            "then set `pretrained` to FOLDER. For random weights (tests), set `pretrained` to null and give the sizes "
            "in `clip`."
        ) from error
    if kind != CLIPConfig.model_type:
        wanted = f"wanted a '{CLIPConfig.model_type}'"
        raise ValueError(f"'{pretrained}' holds a '{kind}' (model_type in config.json); {wanted}.")
    return load_pretrained(CLIPModel, pretrained, may_lack)
