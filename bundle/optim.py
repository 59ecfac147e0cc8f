"""Learning rates by part of the network."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from bundle.comments import without_comments


def parameter_groups(network: nn.Module, rates: Mapping[str, float], no_decay: bool = False) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by learning rate.

    Args:
        network: its frozen parameters are left out.
        rates: fnmatch pattern -> learning rate. A parameter takes the first pattern that its name matches; one that
            matches none takes the optimizer's own rate.
        no_decay: exempt biases, norms, tokens, and other vectors and scalars from weight decay.

    Returns:
        Groups for an optimizer's `params`.

    Raises:
        ValueError: nothing trains, or a pattern matches no trainable parameter.
    """
    rates = without_comments(rates)
    trainable = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("No parameter trains: network_def's `trainable` patterns freeze everything.")
    groups: dict[tuple[str | None, bool], dict[str, Any]] = {}
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
        groups.setdefault((pattern, plain), group)["params"].append(parameter)
    if idle := [p for p in rates if p not in matched]:
        names = ", ".join(sorted({n.split(".")[0] for n, _ in trainable}))
        raise ValueError(f"learning_rates: {idle} match no trainable parameter; what trains lies under: {names}.")
    return list(groups.values())
