"""A published Patch-CLIP checkpoint -> this project's weights, as far as its tensors say what they are.

Known of such a checkpoint are the beginnings of its names and, from the paper, what lies under each:

- `local_clip.`: CLIP, by OpenAI's names;
- `conv_downsample.`: two 5x5 convolutions with batch normalisation, 1 -> hidden -> 3 channels;
- `concept_proj.`: W_c, a matrix without bias;
- `sparsePatchEmbed.`: torch's transformer encoder and a class token of W numbers;
- and somewhere a, the P weights of the patches in the pooled head.

Within these a tensor is known by its shape and by torch's own names of its module. What is not known by them, or not
there, is refused, all at once: nothing is guessed, and nothing left random.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bundle.atomic import new_folder
from bundle.checkpoints import save_atomically
from bundle.data.tokenizer import load_tokenizer
from bundle.networks.clip import CLIPTowers
from bundle.networks.conversion.clip_folder import write_clip
from bundle.networks.conversion.clip_names import to_transformers
from bundle.networks.conversion.clip_sizes import ClipSizes, sizes_of_openai
from bundle.networks.conversion.state_file import listed, read_state
from bundle.networks.downscaler import Downscaler
from bundle.networks.patch_clip import PatchCLIP

logger = logging.getLogger(__name__)

CLIP, DOWNSCALER, PROJECTION, SPARSE = "local_clip.", "conv_downsample.", "concept_proj", "sparsePatchEmbed."
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# made anew by the configuration that reads the weights
_OURS = re.compile(r"clip\.|image_score\.|prompt_embeddings$|selection\.|_extra_state$")

State = dict[str, torch.Tensor]


def convert_patch_clip(
    weights: str | Path, output: str | Path, findings: str | Sequence[str], in_size: int = 900
) -> None:
    """A published Patch-CLIP checkpoint -> a folder: `model.pt`, for `init_checkpoint`; `clip/`, for `pretrained`.

    Args:
        weights: the checkpoint.
        output: folder to make.
        findings: what it was trained for; one name, since the published models are of one finding each, or several.
        in_size: side of the canvas in pixels (the paper: 900).

    Raises:
        FileExistsError: `output` is there.
        FileNotFoundError: there is no checkpoint.
        ValueError: tensors that are not known, missing, or of other shapes; all listed.
    """
    names = [findings] if isinstance(findings, str) else list(findings)
    state, where = read_state(weights), str(weights)
    clip = {name.removeprefix(CLIP): value for name, value in state.items() if name.startswith(CLIP)}
    sizes = sizes_of_openai(clip, f"{where} ({CLIP}*)")
    towers = to_transformers(clip, sizes, f"{where} ({CLIP}*)")
    rest = {name: value for name, value in state.items() if not name.startswith(CLIP)}
    heads = _heads(rest, sizes, where)
    hidden, layers = len(heads["downscaler.layers.0.weight"]), _layers(heads)
    with new_folder(output) as folder:
        write_clip(towers, sizes, folder / "clip")
        torch.manual_seed(0)
        network = PatchCLIP(
            names,
            Downscaler(in_size, sizes.image_size, hidden),
            CLIPTowers(sizes.image_size, str(folder / "clip")),
            load_tokenizer(folder / "clip"),
            sparse={"num_layers": layers, "feedforward": len(heads["sparse.encoder.layers.0.linear1.bias"])},
        )
        _fill(network, heads, where)
        save_atomically(network.state_dict(), folder / "model.pt")
    logger.info(
        "%s: %s of CLIP with %s; hidden_channels %d, sparse.num_layers %d. The number of attention heads in the "
        "sparse head, which its weights do not say, is the paper's, 4.",
        *(output, names, sizes, hidden, layers),
    )


def _fill(network: PatchCLIP, heads: State, where: str) -> None:
    own = network.state_dict()
    missing = [name for name in own if name not in heads and not _OURS.match(name)]
    shapes = [
        f"{name} {(*value.shape,)}, wanted {(*own[name].shape,)}"
        for name, value in heads.items()
        if name in own and own[name].shape != value.shape
    ]
    unknown = [name for name in heads if name not in own]
    if missing or shapes or unknown:
        raise ValueError(
            f"{where} is no Patch-CLIP of these sizes. By our names, missing: {listed(missing) or 'none'}; of another "
            f"shape: {listed(shapes) or 'none'}; unknown: {listed(unknown) or 'none'}."
        )
    network.load_state_dict(heads, strict=False)


def _heads(state: State, sizes: ClipSizes, where: str) -> State:
    """All but CLIP, by our names, float32."""
    made: State = {}
    faults: list[str] = []
    left = dict(state)
    for beginning, read in ((DOWNSCALER, _downscaler), (PROJECTION, _projection), (SPARSE, _sparse)):
        part = {name: left.pop(name) for name in list(left) if name.startswith(beginning)}
        made |= read(part, sizes, faults)
    pooled = [name for name, value in left.items() if value.numel() == sizes.num_patches]
    if len(pooled) == 1:
        made["pooled.weight"] = left.pop(pooled[0]).reshape(-1)
    else:
        faults.append(
            f"the pooled head's {sizes.num_patches} weights of the patches, one tensor outside the parts above: found "
            f"{listed(pooled) or 'none'}"
        )
    faults += [f"{name} {(*value.shape,)} is not known" for name, value in left.items()]
    if faults:
        raise ValueError(
            f"{where} cannot be read as a published Patch-CLIP: {'; '.join(faults)}. What these are is not known here; "
            "rename or take out what you know of, and convert again."
        )
    return {name: value if value.dtype == torch.int64 else value.float() for name, value in made.items()}


def _downscaler(part: State, sizes: ClipSizes, faults: list[str]) -> State:
    """Convolutions by their kernels, norms by their statistics, both by their channels; a convolution's bias, which our
    downscaler does not have, goes into the norm's mean: exactly the same in eval mode."""
    modules = _modules(part)
    kernels = {name: m for name, m in modules.items() if "weight" in m and m["weight"].ndim == 4}
    norms = {name: m for name, m in modules.items() if set(m) == set(_NORM)}
    first = [name for name, m in kernels.items() if m["weight"].shape[1] == 1]
    hidden = kernels[first[0]]["weight"].shape[0] if len(first) == 1 else 0
    made: State = {}
    for place, channels, inputs in ((0, hidden, 1), (3, 3, hidden)):
        kernel = [n for n, m in kernels.items() if m["weight"].shape[:2] == (channels, inputs)]
        norm = [n for n, m in norms.items() if len(m["weight"]) == channels]
        if len(kernel) != 1 or len(norm) != 1:
            faults.append(
                f"{DOWNSCALER}*: for {inputs or '?'} -> {channels or '?'} channels wanted one convolution and one "
                f"batch normalisation, found {listed(kernel) or 'none'} and {listed(norm) or 'none'}"
            )
            continue
        weights, statistics = kernels.pop(kernel[0]), norms.pop(norm[0])
        for name in (kernel[0], norm[0]):
            modules.pop(name)
        made[f"downscaler.layers.{place}.weight"] = weights.pop("weight")
        made |= {f"downscaler.layers.{place + 1}.{name}": value for name, value in statistics.items()}
        if (bias := weights.pop("bias", None)) is not None:
            mean = f"downscaler.layers.{place + 1}.running_mean"
            made[mean] = made[mean].float() - bias.float()
        faults += [f"{kernel[0]}.{name} is not known" for name in weights]
    faults += [f"{module}.{name} is not known" for module, tensors in modules.items() for name in tensors]
    return made


def _projection(part: State, sizes: ClipSizes, faults: list[str]) -> State:
    shape = (sizes.embedding_dim, sizes.vision.width)
    if len(part) == 1:
        ((name, value),) = part.items()
        if value.shape == shape and (name.endswith(".weight") or shape[0] != shape[1]):
            return {"projection.linear.weight": value}
        if value.shape == shape[::-1] and shape[0] != shape[1]:
            return {"projection.linear.weight": value.T.contiguous()}
    found = [f"{name} {(*value.shape,)}" for name, value in part.items()]
    faults.append(f"{PROJECTION}*: wanted one matrix {shape} without bias, found {listed(found) or 'none'}")
    return {}


def _sparse(part: State, sizes: ClipSizes, faults: list[str]) -> State:
    made: State = {}
    others: State = {}
    for name, value in part.items():
        layer = re.search(r"(?:^|\.)layers\.(\d+\.(?:self_attn|linear1|linear2|norm1|norm2)\..+)$", name)
        if layer is None:
            others[name] = value
        else:
            made[f"sparse.encoder.layers.{layer[1]}"] = value
    tokens = [name for name, value in others.items() if value.numel() == sizes.vision.width]
    if len(tokens) == 1:
        made["sparse.class_token"] = others.pop(tokens[0]).reshape(-1)
    else:
        faults.append(
            f"{SPARSE}*: wanted one class token of {sizes.vision.width} numbers, found {listed(tokens) or 'none'}"
        )
        others = {name: value for name, value in others.items() if name not in tokens}
    faults += [f"{name} {(*value.shape,)} is not known" for name, value in others.items()]
    if not _layers(made) or "sparse.encoder.layers.0.linear1.bias" not in made:
        faults.append(f"{SPARSE}*: wanted the layers of torch's TransformerEncoder (layers.0.linear1.bias, ...)")
    return made


def _layers(made: Mapping[str, torch.Tensor]) -> int:
    found = [re.match(r"sparse\.encoder\.layers\.(\d+)\.", name) for name in made]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _modules(part: State) -> dict[str, State]:
    """Module -> its tensors by their last name."""
    modules: dict[str, State] = {}
    for name, value in part.items():
        module, _, last = name.rpartition(".")
        modules.setdefault(module, {})[last] = value
    return modules
