"""A Comparison of one method."""

from pathlib import Path
from typing import Any

import torch

from bundle.comparison import Comparison
from bundle.comparison.observe import Method
from bundle.precision import Precision


def tiny_comparison(
    folder: Path,
    findings: list[str],
    score: str = "image",
    canvas: int = 80,
    section: str = "validation",
    **more: Any,
) -> Comparison:
    """Its method is "a", with maps to be scaled by the probability; it has no images."""
    (folder / "model.pt").touch()
    return Comparison(
        findings,
        {"a": Method(torch.nn.Identity(), "boxes", None, ("probability",), score)},  # type: ignore[arg-type]
        "a",
        validation=[],
        test=[],
        canvas=canvas,
        plan_file=folder / "plan.json",
        output_dir=folder,
        files={"weights": folder / "model.pt"},
        device=torch.device("cpu"),
        precision=Precision("float32", channels_last=False),
        section=section,
        **more,
    )
