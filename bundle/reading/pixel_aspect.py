"""How much higher than wide a pixel is: films are digitised at other distances down than across."""

from __future__ import annotations

MOST = 4.0  # beyond it, either way, a header is wrong rather than a scanner so made


def pixel_aspect(down: float, across: float, notes: list[str]) -> float:
    """Row distance / column distance, 1 for square pixels.

    Args:
        down: the distance between rows, in any unit.
        across: the distance between columns.
        notes: a ratio that is passed over is added.
    """
    ratio = down / across
    if 1 / MOST <= ratio <= MOST:
        return ratio
    notes.append(f"the pixels are stated to be {ratio:g} times as high as wide; they were taken as square")
    return 1.0
