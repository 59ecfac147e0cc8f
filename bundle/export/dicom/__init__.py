"""Results as DICOM objects that any archive keeps: a structured report, a presentation state, a secondary capture."""

from bundle.export.dicom.results import DicomOptions as DicomOptions
from bundle.export.dicom.results import DicomResults as DicomResults
from bundle.export.dicom.results import NotAssessedError as NotAssessedError
from bundle.export.dicom.results import dicom_results as dicom_results
from bundle.export.dicom.results import read_findings as read_findings
from bundle.export.dicom.results import save_dicom_results as save_dicom_results
from bundle.export.dicom.source import DicomSourceError as DicomSourceError
