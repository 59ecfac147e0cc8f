"""Learning rates by part of the network, and the optimizer's settings."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from bundle.comments import without_comments
from bundle.muon import MATRIX

_NOT_LEARNT = {"params", "foreach", "fused", "capturable", "differentiable"}
"""Keys of an optimizer's parameter group that are not settings of the training but say how steps are computed."""


def parameter_groups(
    network: nn.Module, rates: Mapping[str, float], no_decay: bool = False, matrices: bool = False
) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by learning rate.

    Args:
        network: its frozen parameters are left out.
        rates: fnmatch pattern -> learning rate. A parameter takes the first pattern that its name matches; one that
            matches none takes the optimizer's own rate.
        no_decay: exempt biases, norms, tokens, and other vectors and scalars from weight decay.
        matrices: mark the groups of layers' matrices and kernels, for `bundle.muon.Muon`. Embeddings are none, and
            neither is what has a single row.

    Returns:
        Groups for an optimizer's `params`.

    Raises:
        ValueError: nothing trains, or a pattern matches no trainable parameter.
    """
    rates = without_comments(rates)
    trainable = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("No parameter trains: network_def's `trainable` patterns freeze everything.")
    of_layers = _matrices(network) if matrices else set()
    groups: dict[tuple[str | None, bool, bool], dict[str, Any]] = {}
    matched = set()
    for name, parameter in trainable:
        pattern = next((p for p in rates if fnmatchcase(name, p)), None)
        matched.add(pattern)
        plain = no_decay and parameter.ndim < 2
        group: dict[str, Any] = {"params": []}
        if pattern is not None:
            group["lr"] = rates[pattern]
        if plain:
            group["weight_decay"] = 0.0
        if matrices:
            group[MATRIX] = parameter in of_layers
        groups.setdefault((pattern, plain, parameter in of_layers), group)["params"].append(parameter)
    if idle := [p for p in rates if p not in matched]:
        names = ", ".join(sorted({n.split(".")[0] for n, _ in trainable}))
        raise ValueError(f"learning_rates: {idle} match no trainable parameter; what trains lies under: {names}.")
    return list(groups.values())


def _matrices(network: nn.Module) -> set[nn.Parameter]:
    """Weights of linear, convolutional and attention layers that have more than one row and column."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | _ConvNd | nn.MultiheadAttention)]
    own = {parameter for layer in layers for parameter in layer.parameters(recurse=False)}
    return {parameter for parameter in own if parameter.ndim > 1 and min(parameter.flatten(1).shape) > 1}


def changed_settings(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, what decides what is learnt and differs between two optimizers' parameter groups.

    What a schedule moves, and how steps are computed, does not count.
    """
    changed = []
    for one, other in zip(before, now, strict=False):
        old, new = _settings(one), _settings(other)
        differing = [name for name in old if name in new and not _equal(old[name], new[name])]
        changed += [f"{name} was {old[name]}, now {new[name]}" for name in differing]
    return changed


def computed_as(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state that says how steps are computed (fused, foreach) as this optimizer does.

    torch's `load_state_dict` would keep to the stored way, whatever is configured.
    """
    groups = []
    for stored, now in zip(state["param_groups"], optimizer.param_groups, strict=False):
        groups.append(stored | {name: now[name] for name in _NOT_LEARNT - {"params"} if name in now})
    return {**state, "param_groups": groups + list(state["param_groups"])[len(groups) :]}


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """What decides what a parameter group learns, without what a schedule moves."""
    kept = {name: value for name, value in group.items() if name not in _NOT_LEARNT}
    kept["lr"] = kept.pop("initial_lr", kept.get("lr"))
    if "max_momentum" in kept:  # a cyclic schedule moves the momentum between this and base_momentum
        kept.pop("momentum", None)
        if "betas" in kept:
            kept["betas[1:]"] = kept.pop("betas")[1:]
    return kept


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return math.isclose(one, other) if isinstance(one, float) and isinstance(other, float) else bool(one == other)
