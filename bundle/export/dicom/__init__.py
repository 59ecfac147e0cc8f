"""The former place of `bundle.results.dicom`, by which others import it."""

from bundle.results.dicom import DicomOptions as DicomOptions
from bundle.results.dicom import DicomResults as DicomResults
from bundle.results.dicom import DicomSourceError as DicomSourceError
from bundle.results.dicom import NotAssessedError as NotAssessedError
from bundle.results.dicom import dicom_results as dicom_results
from bundle.results.dicom import read_findings as read_findings
from bundle.results.dicom import save_dicom_results as save_dicom_results
