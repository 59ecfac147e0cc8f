"""The sparse head's cost where one box is large, as a ratio in one process: python -m scripts.benchmark_sparse"""

import time
from collections.abc import Callable
from statistics import median

import fire
import torch

from bundle.networks.heads import SparseHead
from bundle.networks.selection import of_like_size
from scripts.text_table import text_table


def main(
    sets: int = 16, large: int = 200, small: int = 12, width: int = 1024, repeats: int = 3, markdown: bool = False
) -> None:
    """Print what forward and backward take of a batch's sets as one, padded to the largest, against those of like size.

    Args:
        sets: images times findings; one of them is large.
        large, small: patches of a large box, and of all others.
        width: of the tokens.
        repeats: the median counts; the two ways take turns.
        markdown: print a Markdown table.
    """
    torch.manual_seed(0)
    head, tokens = SparseHead(width, dropout=0.0), torch.randn(sets, large, width)
    sizes = [large] + [small] * (sets - 1)
    valid = torch.arange(large) < torch.tensor(sizes)[:, None]
    groups = of_like_size(sizes)

    def padded() -> None:
        head(tokens, valid).sum().backward()

    def apart() -> None:
        torch.cat([head(tokens[rows, :n], valid[rows, :n]) for rows, n in groups]).sum().backward()

    seconds: dict[str, list[float]] = {"padded": [], "apart": []}
    for _ in range(repeats):
        for name, way in (("padded", padded), ("apart", apart)):
            seconds[name].append(took(way))
    one, other = (median(seconds[name]) for name in ("padded", "apart"))
    what = f"sparse head, {sets} sets, one of {large} patches, the others of {small}: of like size against padded"
    measured = f"{other * 1e3:.0f} ms against {one * 1e3:.0f} ms: {other / one:.2f}x"
    print(text_table([("what", "measured"), (what, measured)], markdown))


def took(way: Callable[[], None]) -> float:
    """Seconds."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


if __name__ == "__main__":
    fire.Fire(main)
