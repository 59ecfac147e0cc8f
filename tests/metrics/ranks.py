"""What one of several processes does in the tests of gathering: a module of its own, so that it can be imported."""

from pathlib import Path

import torch
import torch.distributed as dist

from bundle.metrics import AUROCMetric, FROCMetric
from tests.forked_ranks import meet
from tests.metrics.drawn import random_evaluation

FINDINGS = ["A", "B", "C"]


def evaluate(shard: list[int], images: int) -> dict[str, torch.Tensor]:
    """Feed a shard, in batches of three, to both metrics and gather."""
    tables, truths, scores = random_evaluation(images)
    for i, truth in enumerate(truths):  # patches of another size in every image
        truth["to_stored"] = torch.diag(torch.tensor([12.5 + i, 12.5, 1.0], dtype=torch.float64))
    froc, auroc = FROCMetric(FINDINGS), AUROCMetric(FINDINGS, ["image", "pooled"])
    for start in range(0, len(shard), 3):
        batch = shard[start : start + 3]
        froc([tables[i] for i in batch], [truths[i] for i in batch])
        auroc([scores[i] for i in batch], [truths[i] for i in batch])
    result = {"froc": froc.aggregate(), "auroc": auroc.aggregate()}
    result["area"] = torch.from_numpy(froc.records().images.patch_area.copy())
    result |= {f"table{i}": torch.from_numpy(table.copy()) for i, table in enumerate([*froc.rows(), *auroc.rows()])}
    return result


def work(rank: int, shards: list[list[list[int]]], images: int, folder: str) -> None:
    """One rank: every case of `shards` after the other in one process group, results saved for the parent."""
    meet(rank, folder, len(shards[0]))
    results = [evaluate(case[rank], images) for case in shards]
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
