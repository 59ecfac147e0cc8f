"""What one of several processes does in the tests of gathered losses: a module of its own, so it can be imported."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from bundle.losses import (
    NegativeCaptionLoss,
    RegionContrastiveLoss,
    RegionDistillationLoss,
    ReportContrastiveLoss,
    WeightedLosses,
)
from bundle.losses.gather import gather_rows
from tests.forked_ranks import meet

LOSSES = {
    "report": ReportContrastiveLoss,
    "region": RegionContrastiveLoss,
    "negative": NegativeCaptionLoss,
    "distillation": lambda: RegionDistillationLoss(0.2),
}
WEIGHTS = [*({name: 1.0} for name in LOSSES), {"report": 1, "region": 2, "negative": 3, "distillation": 0.5}]
FEATURES = {"image": 5, "text": 4, "summary": 4, "region": 5, "caption": 4, "negative": 4, "teacher": 3}


class Towers(nn.Module):
    """Features to unit embeddings, linearly; the teacher's are the features."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.vision, self.text, self.roi = nn.Linear(5, 6), nn.Linear(4, 6), nn.Linear(5, 6)
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, batch):
        layers = {"image": self.vision, "region": self.roi}
        unit = {n: F.normalize(layers.get(n, self.text)(batch[n]), dim=-1) for n in FEATURES if n != "teacher"}
        names = {"image": "global_embedding"}
        return {
            **{names.get(name, f"{name}_embedding"): value for name, value in unit.items()},
            "teacher_region_embedding": F.normalize(batch["teacher"], dim=-1),
            "teacher_caption_embedding": F.normalize(batch["caption"][..., :3], dim=-1),
            "logit_scale": self.log_scale.exp(),
        }


def images(b=6, r=3, m=4):
    """Features of `b` images with 0 to 3 regions; equal captions have equal features."""
    g = torch.Generator().manual_seed(7)

    def features(*shape, kind):
        return torch.randn(*shape, FEATURES[kind], generator=g, dtype=torch.float64)

    texts = features(20, kind="text")
    batch = {
        "region_valid": torch.arange(r) < torch.tensor([3, 0, 2, 1, 0, 1])[:, None],
        "caption_id": torch.tensor([[0, 1, 2], [-1] * 3, [0, 3, -1], [4, -1, -1], [-1] * 3, [4, -1, -1]]),
        "negative_id": torch.randint(-4, 20, (b, r, m), generator=g).clamp(min=-1),
        "report_id": torch.tensor([0, 1, 0, 2, 3, -1]),
        "summary_id": torch.tensor([5, -1, -1, 5, 6, 7]),
        "image": features(b, kind="image"),
        "region": features(b, r, kind="region"),
        "teacher": features(b, r, kind="teacher"),
    }
    for name in ("report", "summary", "caption", "negative"):
        batch["text" if name == "report" else name] = texts[batch[f"{name}_id"].clamp(min=0)]
    return batch


def train_once(shard, weights, steps=2):
    """The losses of `steps` steps on a shard of the images, and the last one's gradients."""
    network = Towers().double()
    model = DistributedDataParallel(network) if dist.is_initialized() else network
    batch = {name: value[shard] for name, value in images().items()}
    loss_function, losses = WeightedLosses({n: make() for n, make in LOSSES.items()}, dict.fromkeys(LOSSES, 1)), []
    loss_function.set_weights(weights)
    for _ in range(steps):  # a second, because DistributedDataParallel complains of the first step's omissions then
        network.zero_grad(set_to_none=True)
        loss = loss_function(model(batch), batch)["loss"]
        loss.backward()
        losses.append(loss.detach())
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in network.named_parameters()}
    return {"loss": torch.stack(losses), **gradients}


def gather_once(rank):
    """Rank 0 has two rows, rank 1 none, and both weigh what they get by their own number."""
    rows = torch.arange(4.0).view(2, 2)[: 2 * (1 - rank)].requires_grad_()
    ids = torch.tensor([8, 9])[: 2 * (1 - rank)]
    gathered, gathered_ids = gather_rows(rows, ids)
    (gathered * (rank + 1)).sum().backward()
    left = gather_rows(rows.detach())[0]  # wants no gradient, so it stays
    return {"rows": gathered.detach(), "ids": gathered_ids, "gradient": rows.grad, "left": left}


def contrast_once(rank):
    """Shapes of the logits that a rank computes for five reports, and what goes from rank to rank in full."""
    logits, sent, cross_entropy = [], {"all_reduce": 0, "reduce_scatter_single": 0}, F.cross_entropy

    def noted(name, whole):
        def call(tensor, *more):
            sent[name] += more[0].numel() if more else tensor.numel()
            return whole(tensor, *more)

        return call

    whole = {name: getattr(dist, name) for name in sent}
    for name, function in whole.items():
        setattr(dist, name, noted(name, function))
    F.cross_entropy = lambda scores, *more, **named: (
        logits.append(tuple(scores.shape)),
        cross_entropy(scores, *more, **named),
    )[1]
    train_once([[0, 1, 2], [3, 4]][rank], WEIGHTS[0], steps=1)
    F.cross_entropy = cross_entropy
    for name, function in whole.items():
        setattr(dist, name, function)
    model, sizes = DistributedDataParallel(Towers()), []
    model.register_comm_hook(
        None, lambda _, bucket: (sizes.append(bucket.buffer().numel()), allreduce_hook(None, bucket))[1]
    )
    whole_batch = {name: value.float() if value.is_floating_point() else value for name, value in images().items()}
    loss = {**model(whole_batch)}
    sum(value.sum() for value in loss.values()).backward()
    return {"logits": logits, "sent": sent, "gradients": sum(sizes)}


def work(rank: int, shards: list[list[list[int]]], folder: str) -> None:
    """One rank: every case of `shards` with every choice of weights in one process group, results saved."""
    meet(rank, folder, len(shards[0]))
    results = [[train_once(case[rank], weights) for weights in WEIGHTS] for case in shards]
    torch.save(
        {"losses": results, "gather": gather_once(rank), "contrast": contrast_once(rank)}, Path(folder) / f"{rank}.pt"
    )
    dist.destroy_process_group()
