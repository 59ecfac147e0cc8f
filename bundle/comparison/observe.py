"""What each method says of each image of a section: its maps and image probabilities, collected once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from ignite import distributed as idist
from monai.data import decollate_batch

from bundle.engines import TRUTH, plain
from bundle.grid import grid_to_stored
from bundle.networks import PatchCLIP
from bundle.precision import Precision
from bundle.saliency import METHODS

Truth = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A network, the maps taken from it, and what it was told.

    Attributes:
        network: that looks.
        supervision: in words, what boxes it was trained on; stands in the table.
        saliency: name of `bundle.saliency.METHODS`, or None for the network's own patch maps.
        scalings: how its maps may become scores 0..1, of `bundle.comparison.plan.SCALINGS`. Which is used, validation
            decides.
        score: which of the network's scores is the image's probability.
    """

    network: PatchCLIP
    supervision: str
    saliency: str | None = None
    scalings: tuple[str, ...] = ("none",)
    score: str = "image"


class Observed(NamedTuple):
    """One method on one section.

    Attributes:
        maps: (I, K, Gh, Gw) float32, >= 0.
        probability: (I, K) float32, the network's image score.
    """

    maps: torch.Tensor
    probability: torch.Tensor


def observe(
    methods: Mapping[str, Method],
    loader: Iterable[Mapping[str, Any]],
    canvas: int,
    device: torch.device,
    precision: Precision,
) -> tuple[list[Truth], dict[str, Observed]]:
    """Show every image to every method (collective: ranks may hold different images, all get everything).

    Args:
        methods: by name.
        loader: batches of the section, as the evaluator gets them.
        canvas: side of the square canvas in pixels.
        device: to compute on.
        precision: number format and layout.

    Returns:
        The truth of every image, by index, with `to_stored`, (3, 3) grid to stored frame, of the first method's grid;
        and what each method saw, in the same order.

    Raises:
        ValueError: the section is empty, or a method's maps are not finite (the image's index is named).
    """
    truths: list[Truth] = []
    seen: dict[str, list[Observed]] = {name: [] for name in methods}
    for batch in loader:
        for name, look in _look(methods, batch, device, precision).items():
            seen[name].append(look)
        truth = {key: plain(batch[key]) for key in TRUTH if key in batch}
        truths += decollate_batch(truth)
    if idist.get_world_size() > 1:
        parts = idist.all_gather((truths, seen))
        truths = [truth for theirs, _ in parts for truth in theirs]
        seen = {name: [part for _, theirs in parts for part in theirs[name]] for name in methods}
    if not truths:
        raise ValueError("There is no image in this section: nothing can be compared.")
    order = sorted(range(len(truths)), key=lambda place: int(truths[place]["index"]))
    observed = {}
    for name, parts in seen.items():
        maps, probability = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        observed[name] = Observed(maps[order], probability[order])
    grid = next(iter(observed.values())).maps.shape[-2:]
    return [_placed(truths[place], canvas, (grid[0], grid[1])) for place in order], observed


def _look(
    methods: Mapping[str, Method], batch: Mapping[str, Any], device: torch.device, precision: Precision
) -> dict[str, Observed]:
    """One batch by every method; methods of one network share its pass."""
    image = precision.layout(plain(batch["image"]).to(device))
    outputs: dict[int, dict[str, Any]] = {}
    looks = {}
    for name, method in methods.items():
        key = id(method.network)
        if key not in outputs:
            method.network.eval()
            with torch.no_grad(), precision.context(device):
                outputs[key] = method.network(image, full=True)
        output = outputs[key]
        maps = output["pred"] if method.saliency is None else METHODS[method.saliency](method.network, image)
        look = Observed(maps.detach().float().cpu(), output["scores"][method.score].float().cpu())
        for what, values in (("maps", look.maps), ("image scores", look.probability)):
            finite = torch.isfinite(values).flatten(1).all(1)
            if not finite.all():
                index = int(torch.as_tensor(batch["index"])[~finite][0])
                raise ValueError(f"{name}: the {what} of image {index} are not finite; this network cannot be judged.")
        looks[name] = look
    return looks


def _placed(truth: Truth, canvas: int, grid: tuple[int, int]) -> Truth:
    affine = grid_to_stored(truth["canvas_from_stored"].cpu(), (canvas, canvas), grid)
    return {**truth, "grid_size": grid, "to_stored": affine}


def to_stored_from(truth: Truth, grid: tuple[int, int]) -> torch.Tensor:
    """(3, 3), from the frame of a map of this grid, (Gh, Gw), to an image's stored frame: methods' grids may differ."""
    gh, gw = truth["grid_size"]  # of which `to_stored` is
    scale = torch.tensor([gw / grid[1], gh / grid[0], 1.0], dtype=torch.float64)
    return truth["to_stored"].double() @ scale.diag()


def geometry(truths: Sequence[Truth], grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(I, 3, 3) from maps of this grid, (Gh, Gw), to the stored frame, and (I, 2) stored (H, W), of all images."""
    return (
        torch.stack([to_stored_from(truth, grid) for truth in truths]),
        torch.stack([torch.as_tensor(truth["stored_size"]).cpu() for truth in truths]),
    )
