"""The sparse head's cost where one box is large (`python -m scripts.benchmark sparse.padded`)."""

import torch

from bundle.networks.heads import SparseHead
from bundle.networks.selection import of_like_size
from scripts.benchmark_rows import Row, benchmark, turns


@benchmark("sparse.padded", sets=4, large=40, small=3, width=16, repeats=1)
def sparse_padded(sets: int = 16, large: int = 200, small: int = 12, width: int = 1024, repeats: int = 3) -> list[Row]:
    """Forward and backward of a batch's sets, those of like size together, against all padded to the largest.

    Args:
        sets: images times findings; one of them is large.
        large, small: patches of a large box, and of all others.
        width: of the tokens.
        repeats: the median counts; the two ways take turns.
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

    took = turns({"apart": apart, "padded": padded}, repeats)
    what = f"sparse head, {sets} sets, one of {large} patches, the others of {small}: of like size against padded"
    return [Row("sparse.padded", what, (took["apart"] * 1e3, took["padded"] * 1e3), "ms")]
