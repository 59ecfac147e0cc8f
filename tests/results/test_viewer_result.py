"""What a viewer is told about a radiograph beside the findings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from bundle.results.viewer_result import ViewerResultd
from bundle.transforms import FitToCanvasd, LoadRadiographd
from tests.tiny import write_dicom


def test_the_answer_says_how_the_radiograph_was_read(tmp_path: Path) -> None:
    pixels = np.arange(2000, dtype=np.uint16).reshape(40, 50)
    path = write_dicom(tmp_path / "in.dcm", pixels, WindowCenter=30000, WindowWidth=100)
    sample = FitToCanvasd(size=64)(LoadRadiographd()({"image": str(path)}))
    found = {"pred": torch.rand(1, 8, 8), "scores": {"image": torch.tensor([0.9])}, "candidates": torch.zeros(0, 8)}
    result = ViewerResultd(findings=["Mass"])({**sample, **found})["result"]
    assert result["reading"]["notes"] == ["the window of centre 30000 and width 100 holds no pixel; it was passed over"]
    assert result["reading"]["window"]["kind"] == "bits_stored"
    assert str(tmp_path) not in json.dumps(result)
