"""All texts of a training, embedded on demand by their number."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.data.report_text import tokenize_reports
from bundle.networks.clip import TextTower
from bundle.networks.siglip_text import SiglipTextTower
from bundle.networks.text_encoder import TextEncoder, trim_padding


class TextBank(nn.Module):
    """Text number n -> e_n = norm(projection(pooled(text n))), each distinct number of a batch embedded once.

    While no parameter of the tower's transformer (`tower.model`) trains, the pooled features of *all* texts are
    computed once, without gradient, in eval mode and float32, and kept; a step then runs the projection alone. They are
    computed anew when the transformer's weights have changed: loaded, moved, or trained in between (a change through
    `.data` leaves no trace and is not seen). Banks of one process that have equal weights share them, so that several
    trainings by one frozen encoder embed a text once. While it trains, the transformer runs on the batch's texts.

    The bank holds the tower without owning it, and follows it to its device. It adds nothing to a network's parameters,
    buffers or state dict: its texts are configuration. Only their token ids are kept, and no message or repr shows a
    text. With DistributedDataParallel, call it inside the network's `forward`.

    Args:
        texts: the T texts, all different; their numbers are 0..T-1. Those longer than the context are cut by whole
            sentences, in order of worth (`bundle.data.report_text.cut_report`).
        tokenizer: the tower's.
        tower: CLIP's or SigLIP's text tower, or a `TextEncoder`.
        context_length: L, tokens of a text at most.
        chunk: texts that go through the transformer at once when all are computed.

    Raises:
        ValueError: no texts, or two that are equal.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Any,
        tower: TextTower | SiglipTextTower | TextEncoder,
        context_length: int,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        if not texts:
            raise ValueError("TextBank: there are no texts.")
        if len(set(texts)) < len(texts):
            raise ValueError(f"TextBank: of {len(texts)} texts only {len(set(texts))} are different; give each once.")
        tokens = tokenize_reports(texts, tokenizer, context_length)
        # not buffers: DistributedDataParallel would send them round at every step; and a tuple is not a submodule
        self._ids, self._mask = trim_padding(tokens["input_ids"], tokens["attention_mask"])  # (T, L)
        self._tower = (tower,)
        self._features: torch.Tensor | None = None
        self._made_of: list[tuple[int, int]] = []
        self.chunk = chunk

    def __len__(self) -> int:
        return len(self._ids)

    def extra_repr(self) -> str:
        return f"{len(self)} texts, {self._ids.shape[1]} tokens at most"

    def forward(self, number: torch.Tensor) -> torch.Tensor:
        """Embed texts by their numbers.

        Args:
            number: (...) int64, 0..T-1, or -1 for padding.

        Returns:
            (..., D) float32, unit length, on the tower's device; 0 for padding.

        Raises:
            ValueError: a number that no text has.
        """
        (tower,) = self._tower
        distinct, place = torch.unique(number.cpu(), return_inverse=True)  # ascending
        if len(distinct) and not -1 <= int(distinct[0]) <= int(distinct[-1]) < len(self):
            raise ValueError(
                f"TextBank: asked for texts {int(distinct[0])} to {int(distinct[-1])}, but their numbers are "
                f"0 to {len(self) - 1}, and -1 for padding."
            )
        wanted = distinct[distinct >= 0]
        embedding = F.normalize(tower.projection(self.pooled(wanted)).float(), dim=-1)  # (N, D)
        if len(wanted) < len(distinct):
            embedding = F.pad(embedding, (0, 0, 1, 0))  # -1 is the lowest number: its row comes first
        return embedding[place.to(embedding.device)]

    def pooled(self, wanted: torch.Tensor) -> torch.Tensor:
        """Numbers of texts (N,) -> (N, H), the tower's features before the projection."""
        (tower,) = self._tower
        if not len(wanted):
            return tower.projection.weight.new_zeros(0, tower.projection.in_features)
        parameters = list(tower.model.parameters())
        if any(p.requires_grad for p in parameters):
            return self._run(wanted)
        made_of = [(p.data_ptr(), p._version) for p in parameters]  # torch counts the changes in place
        if self._features is None or self._made_of != made_of:
            self._features, self._made_of = self._run_all(), made_of
        return self._features[wanted.to(self._features.device)]

    def _run(self, numbers: torch.Tensor) -> torch.Tensor:
        (tower,) = self._tower
        ids, mask = trim_padding(self._ids[numbers], self._mask[numbers])
        device = tower.projection.weight.device
        return tower.pooled(ids.to(device), mask.to(device))

    @torch.no_grad()
    def _run_all(self) -> torch.Tensor:
        """(T, H) float32; texts of a length go together, so that little padding is computed."""
        (tower,) = self._tower
        known = _shared(tower)
        keys = [bytes(ids[mask.bool()].numpy()) for ids, mask in zip(self._ids, self._mask, strict=True)]
        missing = torch.tensor([n for n, key in enumerate(keys) if key not in known], dtype=torch.int64)
        order = missing[self._mask[missing].sum(1).argsort()]
        with evaluating(tower.model), torch.autocast(tower.projection.weight.device.type, enabled=False):
            for numbers in order.split(self.chunk) if len(order) else ():
                for number, pooled in zip(numbers.tolist(), self._run(numbers).float().cpu(), strict=True):
                    known[keys[number]] = pooled
        return torch.stack([known[key] for key in keys]).to(tower.projection.weight.device)


_SHARED: dict[str, dict[bytes, torch.Tensor]] = {}  # of the tower used last: its digest -> token ids -> (H,)


def _shared(tower: TextTower | SiglipTextTower | TextEncoder) -> dict[bytes, torch.Tensor]:
    """The features that towers of this kind and exactly these weights have made in this process."""
    digest = hashlib.sha256(f"{type(tower)} {getattr(tower, 'pooling', '')} {tower.model.config}".encode())
    for name, tensor in tower.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    key = digest.hexdigest()
    if key not in _SHARED:
        _SHARED.clear()
        _SHARED[key] = {}
    return _SHARED[key]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; then each submodule is back in its own."""
    before = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in before:
            child.training = training
