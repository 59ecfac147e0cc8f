"""Transforms of radiographs, boxes and reports: array functions a file each, and the dictionary forms configs name."""

from bundle.transforms.detections import BoxesToCanvasd as BoxesToCanvasd
from bundle.transforms.detections import DetectionsToCandidatesd as DetectionsToCandidatesd
from bundle.transforms.dictionary import AugmentRadiographd as AugmentRadiographd
from bundle.transforms.dictionary import BoxesToPatchMaskd as BoxesToPatchMaskd
from bundle.transforms.dictionary import FitToCanvasd as FitToCanvasd
from bundle.transforms.dictionary import KeepBoxesd as KeepBoxesd
from bundle.transforms.dictionary import LoadRadiographd as LoadRadiographd
from bundle.transforms.dictionary import MapsToCandidatesd as MapsToCandidatesd
from bundle.transforms.dictionary import SelectSampled as SelectSampled
from bundle.transforms.dictionary import TokenizeReportd as TokenizeReportd
from bundle.transforms.regions import RegionsToCanvasd as RegionsToCanvasd
from bundle.transforms.save_dicom_results import SaveDicomResultsd as SaveDicomResultsd
from bundle.transforms.save_findings import SaveFindingsd as SaveFindingsd
from bundle.transforms.viewer_result import SpreadOutputd as SpreadOutputd
from bundle.transforms.viewer_result import ViewerResultd as ViewerResultd
