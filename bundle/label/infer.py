"""Inference as MONAI Label runs it, from the bundle's inference.json."""

from pathlib import Path
from typing import Any

from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.transform.writer import write_itk

from bundle.results.viewer_result import SHOW


class RadiographInferTask(BundleInferTask):
    """The stock task with findings numbered as in the mask, from 1, and named as the network names them.

    Args:
        path: the bundle.
        conf: the application's settings.
        findings: in the network's order.
    """

    def __init__(self, path: str, conf: dict[str, str], findings: list[str]) -> None:
        # "" is the bundle's own
        options = {"show": list(SHOW), "finding": ["", *findings], "min_score": "", "min_image_score": ""}
        super().__init__(path, conf, type="segmentation", load_strict=True, config=options)
        self._weights = Path(path) / "models" / "model.pt"
        self._written = self._weights.stat().st_mtime_ns
        self.labels = {name: k + 1 for k, name in enumerate(findings)}
        self._config.pop("model_filename", None)  # there is one: the list would offer checkpoints of a training too

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> tuple[Any, dict[str, Any]]:
        """Path of the mask or map, and everything found."""
        if (written := self._weights.stat().st_mtime_ns) != self._written:  # trained here: thresholds were of others
            self.bundle_config.parse(reset=True)
            self._written = written
        file, result = super().__call__(request, callbacks)
        # 3D Slicer names the segments of a mask by their order among these
        result["label_names"] = result.get("segments") or self.labels
        return file, result

    def writer(self, data: dict[str, Any], extension: Any = None, dtype: Any = None) -> tuple[str, dict[str, Any]]:
        """Write mask or map into the request's folder, and not where MONAI Label leaves it."""
        file = f"{data['folder']}/result{data['result_extension']}"
        plane = data[self.output_label_key]
        write_itk(plane.array, file, plane.affine, None, data.get("result_compress", False))
        return file, data[self.output_json_key]
