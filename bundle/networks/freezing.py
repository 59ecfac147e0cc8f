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
        self._module = module
        self._frozen: list[nn.Module] = []
        if trainable is not None:
            self._train_only(_matching([name for name, _ in module.named_parameters()], trainable, "parameter"))
        self._configured = [name for name, p in module.named_parameters() if p.requires_grad]

    def apply(self) -> None:
        """Put the frozen modules into eval mode."""
        for child in self._frozen:
            child.training = False

    def narrowed(self, trainable: Sequence[str] | None) -> list[str]:
        """The names of the parameters that `narrow` would train.

        Raises:
            ValueError: a pattern that matches none of the parameters that the constructor left trainable.
        """
        if trainable is None:
            return self._configured
        return _matching(self._configured, trainable, "parameter that network_def's `trainable` trains")

    def narrow(self, trainable: Sequence[str] | None) -> None:
        """From now on train only those that match of the parameters that the constructor left trainable.

        No others, since the optimizer, made for those, would not step them. What freezes loses its gradient, so that
        the optimizer leaves it as it is, weight decay and momentum included. Modes change with the next `apply`.

        Args:
            trainable: as the constructor's; None trains all that it left trainable.

        Raises:
            ValueError: see `narrowed`.
        """
        self._train_only(self.narrowed(trainable))

    def _train_only(self, names: Sequence[str]) -> None:
        chosen = set(names)
        for name, parameter in self._module.named_parameters():
            parameter.requires_grad_(name in chosen)
            if name not in chosen:
                parameter.grad = None
        self._frozen = [
            child
            for child in self._module.modules()
            if any(True for _ in child.parameters()) and not any(p.requires_grad for p in child.parameters())
        ]
        # a frozen tower's dropout has no parameters of its own
        self._frozen += [inner for child in self._frozen for inner in child.modules() if not list(inner.parameters())]


def _matching(names: Sequence[str], patterns: Sequence[str], kind: str) -> list[str]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = sorted({".".join(name.split(".")[:2]) + ".*" for name in names})
            raise ValueError(f"trainable: '{pattern}' matches no {kind}. Choose from: {', '.join(parts)}.")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
