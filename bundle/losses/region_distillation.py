"""What a frozen teacher sees in a region, taught to the student."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from bundle.losses.gather import gather_rows


class RegionDistillationLoss(nn.Module):
    """The student's distribution over captions, given a region, is drawn to the teacher's.

    L_distill = mean_i KL(p_teacher(T | ROI_i) ‖ p_student(T | ROI_i))

    over the valid regions i, captioned or not. T are the distinct captions of the batch (all ranks together): equal
    ones count once. p_teacher = softmax_T(⟨r'_i, t'⟩ / τ) with the teacher's own embeddings, which get no gradient;
    p_student = softmax_T(s⟨r_i, t⟩), or with a fixed temperature instead of 1/s. The loss is not multiplied by τ². As τ
    goes to 0 it is the cross-entropy at the teacher's choice, as τ goes to infinity the teacher is uniform. No region,
    or fewer than two distinct captions, give a finite zero.

    Source: the distillation term of Region-Aware MedCLIP, which sums over i; RegionCLIP (Zhong et al., CVPR 2022) has
    τ = 0.01.

    Args:
        temperature: τ, above 0.
        student_temperature: of the student, above 0; None for 1/s, with s the output's `logit_scale`.

    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, temperature: float, student_temperature: float | None = None) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("student_temperature", student_temperature)):
            if value is not None and not value > 0:
                raise ValueError(f"RegionDistillationLoss: {name} is {value}; give a number above 0.")
        self.temperature, self.student_temperature = temperature, student_temperature

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compare the student's view of the regions with the teacher's.

        Args:
            output: `region_embedding`, `caption_embedding` (B, R, D); `teacher_region_embedding`,
                `teacher_caption_embedding` (B, R, Dt); all of unit length; `logit_scale`.
            target: `region_valid` (B, R) bool; `caption_id` (B, R) int64, equal where the captions are, below 0 where
                a region has none.

        Returns:
            The term `distillation`, which is the `loss`.
        """
        valid = target["region_valid"].bool()
        region, caption, teacher_region, teacher_caption, caption_id = gather_rows(
            output["region_embedding"][valid],  # (n, D), like the next
            output["caption_embedding"][valid],
            output["teacher_region_embedding"][valid].detach(),  # (n, Dt), like the next
            output["teacher_caption_embedding"][valid].detach(),
            target["caption_id"][valid],  # (n,)
        )
        distinct = _first_of_each(caption_id)
        scale = output["logit_scale"] if self.student_temperature is None else 1 / self.student_temperature
        student = F.log_softmax(scale * region @ caption[distinct].T, -1)  # (N, C)
        teacher = F.log_softmax(teacher_region @ teacher_caption[distinct].T / self.temperature, -1)
        divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)  # (N,)
        loss = divergence.sum() / max(1, len(divergence))
        return {"distillation": loss, "loss": loss}


def _first_of_each(ids: torch.Tensor) -> torch.Tensor:
    """(N,) -> (N,) bool: where an id that is not below 0 stands for the first time."""
    repeats = (ids[:, None] == ids).tril(-1).any(-1)
    return (ids >= 0) & ~repeats
