"""CLIP's weights by OpenAI's names, which CheXzero and open_clip share, and by transformers' names.

Symbols: W and H the widths of the vision and text towers, D the joint embedding, P the patch size, N patches, V entries
of the vocabulary, L the context length.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch

from bundle.networks.conversion.clip_sizes import ClipSizes, TowerSizes
from bundle.networks.conversion.state_file import listed

# no weights: OpenAI's notes of three sizes, and the causal mask, which some versions of open_clip saved
NOT_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size", "attn_mask"})


class Piece(NamedTuple):
    """One tensor of the original, and what becomes of it.

    Attributes:
        name: the original's.
        shape: the original's.
        made: names in transformers' CLIPModel; several are equal parts along the first axis.
        transposed: whether transformers keeps the transpose.
    """

    name: str
    shape: tuple[int, ...]
    made: tuple[str, ...]
    transposed: bool = False


def pieces(sizes: ClipSizes) -> list[Piece]:
    """Every tensor of a CLIP of these sizes."""
    vision, text, dim = sizes.vision, sizes.text, sizes.embedding_dim
    w, h = vision.width, text.width
    old, new = "visual.", "vision_model."
    return [
        Piece("logit_scale", (), ("logit_scale",)),
        Piece(f"{old}class_embedding", (w,), (f"{new}embeddings.class_embedding",)),
        Piece(
            f"{old}conv1.weight",
            (w, 3, sizes.patch_size, sizes.patch_size),
            (f"{new}embeddings.patch_embedding.weight",),
        ),
        Piece(
            f"{old}positional_embedding", (1 + sizes.num_patches, w), (f"{new}embeddings.position_embedding.weight",)
        ),
        *_norm(f"{old}ln_pre", f"{new}pre_layrnorm", w),  # transformers spells it so
        *_blocks(f"{old}transformer.resblocks", f"{new}encoder.layers", vision),
        *_norm(f"{old}ln_post", f"{new}post_layernorm", w),
        Piece(f"{old}proj", (w, dim), ("visual_projection.weight",), transposed=True),
        Piece("token_embedding.weight", (sizes.vocabulary, h), ("text_model.embeddings.token_embedding.weight",)),
        Piece("positional_embedding", (sizes.context, h), ("text_model.embeddings.position_embedding.weight",)),
        *_blocks("transformer.resblocks", "text_model.encoder.layers", text),
        *_norm("ln_final", "text_model.final_layer_norm", h),
        Piece("text_projection", (h, dim), ("text_projection.weight",), transposed=True),
    ]


def to_transformers(state: Mapping[str, torch.Tensor], sizes: ClipSizes, where: str) -> dict[str, torch.Tensor]:
    """Weights by OpenAI's names -> weights by transformers' names, float32, without loss.

    Args:
        state: of exactly the tensors of `pieces`, and `NOT_WEIGHTS`.
        sizes: the model's.
        where: the file, for the message.

    Raises:
        ValueError: tensors that are missing, unexpected or of other shapes, all listed.
    """
    wanted = pieces(sizes)
    known = {piece.name for piece in wanted} | NOT_WEIGHTS
    faults = {
        "missing": [piece.name for piece in wanted if piece.name not in state],
        "unexpected": sorted(set(state) - known),
        "of another shape": [
            f"{piece.name} {(*state[piece.name].shape,)}, wanted {piece.shape}"
            for piece in wanted
            if piece.name in state and _shape(state[piece.name], piece) != piece.shape
        ],
    }
    if found := "; ".join(f"{what}: {listed(names)}" for what, names in faults.items() if names):
        raise ValueError(f"{where} is no CLIP of {sizes}. Weights {found}.")
    made: dict[str, torch.Tensor] = {}
    for piece in wanted:
        value = state[piece.name].float().reshape(piece.shape)
        parts = (value.T if piece.transposed else value).chunk(len(piece.made)) if piece.shape else [value]
        made |= {name: part.contiguous() for name, part in zip(piece.made, parts, strict=True)}
    return made


def _shape(value: torch.Tensor, piece: Piece) -> tuple[int, ...]:
    """A scalar may be a list of one, as open_clip has it."""
    return () if not piece.shape and value.numel() == 1 else (*value.shape,)


def _norm(old: str, new: str, width: int) -> Iterator[Piece]:
    for part in ("weight", "bias"):
        yield Piece(f"{old}.{part}", (width,), (f"{new}.{part}",))


def _linear(old: str, new: str, inputs: int, outputs: int) -> Iterator[Piece]:
    yield Piece(f"{old}.weight", (outputs, inputs), (f"{new}.weight",))
    yield Piece(f"{old}.bias", (outputs,), (f"{new}.bias",))


def _blocks(old: str, new: str, tower: TowerSizes) -> Iterator[Piece]:
    w = tower.width
    for i in range(tower.depth):
        a, b = f"{old}.{i}", f"{new}.{i}"
        yield from _norm(f"{a}.ln_1", f"{b}.layer_norm1", w)
        # queries, keys and values lie in one tensor of the original
        for part, shape in (("weight", (3 * w, w)), ("bias", (3 * w,))):
            made = tuple(f"{b}.self_attn.{which}_proj.{part}" for which in "qkv")
            yield Piece(f"{a}.attn.in_proj_{part}", shape, made)
        yield from _linear(f"{a}.attn.out_proj", f"{b}.self_attn.out_proj", w, w)
        yield from _norm(f"{a}.ln_2", f"{b}.layer_norm2", w)
        yield from _linear(f"{a}.mlp.c_fc", f"{b}.mlp.fc1", w, tower.hidden)
        yield from _linear(f"{a}.mlp.c_proj", f"{b}.mlp.fc2", tower.hidden, w)
