"""Frozen means frozen: no gradient to the parameters, and eval mode inside `train()`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn


class Freezing:
    """Freezes all parameters of a module whose names match no pattern.

    A frozen module still passes gradients on to what comes before it: only its own parameters stay. Every submodule
    that has parameters, all of them frozen, is kept in eval mode (dropout off, batch statistics fixed).

    Args:
        module: the network.
        trainable: fnmatch patterns against full parameter names, such as "downscaler.*"; None trains everything.

    Raises:
        ValueError: a pattern that matches no parameter.
    """

    def __init__(self, module: nn.Module, trainable: Sequence[str] | None) -> None:
        self._frozen: list[nn.Module] = []
        if trainable is None:
            return
        names = [name for name, _ in module.named_parameters()]
        for pattern in trainable:
            if not any(fnmatchcase(name, pattern) for name in names):
                parts = sorted({".".join(name.split(".")[:2]) + ".*" for name in names})
                raise ValueError(f"trainable: '{pattern}' matches no parameter. Parts that exist: {', '.join(parts)}.")
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in trainable))
        self._frozen = [
            child
            for child in module.modules()
            if any(True for _ in child.parameters()) and not any(p.requires_grad for p in child.parameters())
        ]
        # a frozen tower's dropout has no parameters of its own
        self._frozen += [inner for child in self._frozen for inner in child.modules() if not list(inner.parameters())]

    def apply(self) -> None:
        """Put the frozen modules into eval mode."""
        for child in self._frozen:
            child.training = False
