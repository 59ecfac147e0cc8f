"""Results as DICOM objects that any archive keeps: a structured report, a presentation state, a secondary capture."""

from bundle.results.dicom.results import DicomOptions as DicomOptions
from bundle.results.dicom.results import DicomResults as DicomResults
from bundle.results.dicom.results import NotAssessedError as NotAssessedError
from bundle.results.dicom.results import dicom_results as dicom_results
from bundle.results.dicom.results import read_findings as read_findings
from bundle.results.dicom.results import save_dicom_results as save_dicom_results
from bundle.results.dicom.source import DicomSourceError as DicomSourceError
