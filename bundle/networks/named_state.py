"""Names that go with a network's weights, as a tensor.

What reads a state dict expects tensors in it and nothing else: `monai.fl.client.MonaiAlgo` sends every entry `.cpu()`,
safetensors cannot write another.
"""

import json
from collections.abc import Mapping, Sequence

import torch


def names_to_tensor(names: Sequence[str]) -> torch.Tensor:
    """Names as the bytes of their JSON list: (n,) uint8."""
    return torch.tensor(list(json.dumps(list(names), ensure_ascii=False).encode("utf-8")), dtype=torch.uint8)


def names_from_state(state: torch.Tensor | Mapping[str, list[str]]) -> list[str]:
    """Names of what `names_to_tensor` gave, or of a dict of one list, as weights of version 0.1.0 have them."""
    if isinstance(state, Mapping):
        return next(iter(state.values()))
    names: list[str] = json.loads(bytes(state.tolist()).decode("utf-8"))
    return names
