"""A text tower from any transformers encoder, in place of CLIP's."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from bundle.networks.pretrained import load_pretrained

Pooling = Literal["mean", "cls", "eot", "pooler"]

_POOLINGS = ("mean", "cls", "eot", "pooler")
_ROBERTA = ("roberta", "xlm-roberta", "camembert")  # their positions are counted from pad_token_id + 1


class TextEncoder(nn.Module):
    """A pretrained text encoder from a local folder, pooled and projected into the joint embedding.

    BERT and its kin, such as PubMedBERT or a sentence encoder. Called as `bundle.networks.clip.TextTower`. With x_t the
    last layer's output at token t of n (padding not counted), the pooled features are

    - "mean": (x_1 + ... + x_n) / n, what sentence encoders (MiniLM) are trained with;
    - "cls": x_1, BERT's [CLS];
    - "eot": x_n, BERT's [SEP], or the end-of-text token of a causal encoder;
    - "pooler": the model's own pooling layer on top of x_1.

    The tokenizer that goes with it is `bundle.data.tokenizer.load_tokenizer(folder)`. Nothing is fetched from a hub.

    Args:
        folder: what `save_pretrained` wrote of model and tokenizer: config.json, model.safetensors, tokenizer files.
        embedding_dim: D. The projection H -> D, without bias, is new: it has to be trained.
        pooling: see above. A pooling layer that is not used is dropped.
        context_length: L, tokens of a text at most, markers included; longer texts are cut by the caller.

    Raises:
        FileNotFoundError: there is no model at `folder`.
        ValueError: another kind of model, weights that are not all there, an unknown pooling, or a `context_length`
            beyond the model's positions.
    """

    def __init__(
        self, folder: str | Path, embedding_dim: int, pooling: Pooling = "mean", context_length: int = 128
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise ValueError(f"TextEncoder: pooling is '{pooling}'; give one of {', '.join(_POOLINGS)}.")
        self.model = _load(Path(folder), pooling)
        positions = _positions(self.model.config)
        if positions is not None and context_length > positions:
            raise ValueError(
                f"TextEncoder: context_length is {context_length}, but the model at '{folder}' has only {positions} "
                "positions."
            )
        self.pooling, self.embedding_dim, self.context_length = pooling, embedding_dim, context_length
        self.projection = nn.Linear(self.model.config.hidden_size, embedding_dim, bias=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask -> (N, D) embeddings, not normalised."""
        return self.projection(self.pooled(input_ids, attention_mask))

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask, N at least 1 -> (N, H) pooled features: what is projected."""
        input_ids, attention_mask = trim_padding(input_ids, attention_mask)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if self.pooling == "pooler":
            return out.pooler_output
        tokens = out.last_hidden_state  # (N, L, H)
        if self.pooling == "mean":
            mask = attention_mask[..., None].to(tokens.dtype)
            return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1)
        there = attention_mask.bool()
        place = torch.arange(there.shape[1], device=there.device).expand_as(there)
        # padding may lie on either side
        index = place.masked_fill(~there, -1).amax(1) if self.pooling == "eot" else there.long().argmax(1)
        return tokens[torch.arange(len(tokens), device=tokens.device), index]


def trim_padding(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Drop the last columns in which every row is padding: the same embeddings in less time.

    Args:
        input_ids: (N, L).
        attention_mask: (N, L), 1 where there is a token.

    Returns:
        Both, as (N, L'), L' at least 1.
    """
    used = attention_mask.any(0).nonzero()
    length = int(used[-1]) + 1 if len(used) else 1
    return input_ids[:, :length], attention_mask[:, :length]


def _load(folder: Path, pooling: Pooling) -> Any:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"No text encoder at '{folder}'. Wanted: a local folder with config.json, model.safetensors and the "
            "tokenizer's files. On a connected machine: `hf download microsoft/BiomedNLP-BiomedBERT-base-uncased-"
            "abstract-fulltext --local-dir FOLDER`, or take `bundle.data.minilm.minilm_folder()`."
        )
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if config.is_encoder_decoder or not (hasattr(config, "hidden_size") and hasattr(config, "vocab_size")):
        raise ValueError(f"'{folder}' holds a '{config.model_type}'; wanted a text encoder, such as BERT.")
    model = load_pretrained(
        AutoModel,
        folder,
        may_lack=() if pooling == "pooler" else ("pooler.",),
        heads=True,
        hint="; of a checkpoint without pooling layer, with another `pooling`",
    )
    pools = isinstance(getattr(model, "pooler", None), nn.Module)
    if pooling == "pooler" and not pools:
        raise ValueError(f"The '{config.model_type}' at '{folder}' has no pooling layer; give another `pooling`.")
    if pooling != "pooler" and pools:  # else parameters without a gradient
        model.pooler = None
    return model


def _positions(config: Any) -> int | None:
    """How many tokens the model can place; None where it sets no limit."""
    table: int | None = getattr(config, "max_position_embeddings", None)
    return table - config.pad_token_id - 1 if table and config.model_type in _ROBERTA else table
