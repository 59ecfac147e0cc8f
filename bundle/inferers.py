"""How the network is asked: everything that it says, in the wanted number format."""

from typing import Any

import torch
from monai.inferers import Inferer

from bundle.engines import plain
from bundle.precision import Precision


class FullOutputInferer(Inferer):
    """Calls a network with `full=True` and keeps of its output what inference needs.

    It brings number format and layout along, so that an application that calls `inferer(image, network)` by itself, as
    MONAI Label does, computes what the evaluator computes.

    Args:
        precision: number format and layout.
        outputs: which of the network's outputs to keep.
    """

    def __init__(self, precision: Precision, outputs: tuple[str, ...] = ("pred", "scores")) -> None:
        super().__init__()
        self.precision, self.outputs = precision, tuple(outputs)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What `network` says of `inputs`, (B, 1, Hc, Wc); further arguments go to the network."""
        image = self.precision.layout(plain(inputs))
        # in another layout bf16 rounds differently, by thousandths of a probability; nothing moves the second time
        network = self.precision.place(network, image.device)
        with self.precision.context(image.device):
            output = network(image, *args, **{**kwargs, "full": True})
        return {key: output[key] for key in self.outputs}
