"""The end of the pipeline: candidates, and what inference leaves of them: files, pictures, DICOM, viewers' answers."""

from bundle.results.candidates import CalibrateScoresd as CalibrateScoresd
from bundle.results.candidates import DetectionsToCandidatesd as DetectionsToCandidatesd
from bundle.results.candidates import MapsToCandidatesd as MapsToCandidatesd
from bundle.results.save_dicom_results import SaveDicomResultsd as SaveDicomResultsd
from bundle.results.save_findings import SaveFindingsd as SaveFindingsd
from bundle.results.viewer_result import SpreadOutputd as SpreadOutputd
from bundle.results.viewer_result import ViewerResultd as ViewerResultd
