"""Which mean and deviation of pixels a tower was trained with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

# CheXzero's, on the 0..255 scale
CHEXZERO_MEAN, CHEXZERO_STD = 101.48761, 83.43944


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of the three channels, for pixels 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def tensors(self, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
        """For images (B, channels, H, W): of three channels (3, 1, 1), of one the mean over the three, a scalar."""
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (mean.mean(), std.mean()) if channels == 1 else (mean[:, None, None], std[:, None, None])


IMAGENET = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = PixelStatistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def pixel_tensors(statistics: PixelStatistics | None, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation to normalise pixels 0..1 with; CheXzero's, of every channel the same, for None."""
    if statistics is None:
        return torch.tensor(CHEXZERO_MEAN / 255), torch.tensor(CHEXZERO_STD / 255)
    return statistics.tensors(channels)


def statistics_from(given: Mapping[str, Any], where: str) -> PixelStatistics:
    """From `mean` and `std`, each of three numbers.

    Args:
        given: as a configuration has it.
        where: it was given, for the message.

    Raises:
        ValueError: other keys, or no three numbers; a deviation that is not positive.
    """
    mean, std = given.get("mean"), given.get("std")
    if set(given) != {"mean", "std"} or not _three(mean) or not _three(std) or min(std) <= 0:  # type: ignore[arg-type]
        raise ValueError(
            f"{where} is {dict(given)}; give mean and std, each of three numbers, for pixels 0..1, such as "
            f"{IMAGENET._asdict()}."
        )
    return PixelStatistics(tuple(mean), tuple(std))  # type: ignore[arg-type]


def statistics_of_folder(folder: str | Path) -> PixelStatistics | None:
    """What preprocessor_config.json (or processor_config.json) beside the weights says; None where neither is there.

    Raises:
        ValueError: the file is no JSON object, or its numbers are none.
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = Path(folder) / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            content = content.get("image_processor") or content
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path} is no configuration of a processor: found {error}; copy it again.") from error
        if content.get("do_normalize", True) and "image_mean" in content:
            return statistics_from({"mean": content["image_mean"], "std": content.get("image_std")}, str(path))
    return None


def _three(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 3 and all(isinstance(v, int | float) for v in value)
