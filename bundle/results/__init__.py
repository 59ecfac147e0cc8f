"""The end of the pipeline: candidates, and what inference leaves of them: files, pictures, DICOM, viewers' answers.

The transforms are loaded when they are asked for: the document of findings needs neither torch nor MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundle.results.candidates import CalibrateScoresd as CalibrateScoresd
    from bundle.results.candidates import DetectionsToCandidatesd as DetectionsToCandidatesd
    from bundle.results.candidates import MapsToCandidatesd as MapsToCandidatesd
    from bundle.results.save_dicom_results import SaveDicomResultsd as SaveDicomResultsd
    from bundle.results.save_findings import SaveFindingsd as SaveFindingsd
    from bundle.results.viewer_result import SpreadOutputd as SpreadOutputd
    from bundle.results.viewer_result import ViewerResultd as ViewerResultd

_MODULES = {
    "CalibrateScoresd": "candidates",
    "DetectionsToCandidatesd": "candidates",
    "MapsToCandidatesd": "candidates",
    "SaveDicomResultsd": "save_dicom_results",
    "SaveFindingsd": "save_findings",
    "SpreadOutputd": "viewer_result",
    "ViewerResultd": "viewer_result",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
