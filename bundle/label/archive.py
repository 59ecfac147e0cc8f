"""A DICOMweb archive, which may be silent, slow or endless: what is asked of it has an end, in seconds and bytes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import requests
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from pydicom import Dataset

from bundle.atomic import atomic_path
from bundle.label.datastore import EXTENSIONS, FolderDatastore, checked_name
from bundle.label.refusal import ArchiveError, RefusedError
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.results.findings_file import viewer_affine
from bundle.whole_answers import NoWholeAnswerError, TooLargeError, TooLateError, WholeAnswers

AT_ONCE = 16  # more requests than these do not wait for the archive
PAGE, MOST_SERIES = 500, 100_000  # of a search: at a time, and in all
ANY_SYNTAX = (("application/dicom", "*"),)  # not every archive decompresses, and not each compression
# of DICOMweb, and nothing that leads out of it
_DICOMWEB = re.compile(r"(?:(qido|wado)/)?((?:studies|series|instances)(?:/[\w,-][\w.,-]*)*)/?", re.ASCII)


class Archive:
    """The way to a DICOMweb archive; it is read only.

    Args:
        url: of its DICOMweb service.
        most: bytes of one answer.
        seconds: in which one answer must have come as a whole.
    """

    def __init__(self, url: str, most: int, seconds: float = settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        bounded = _ArchiveAnswers(seconds, most, wait=seconds, at_once=AT_ONCE)
        self._session.mount("http://", bounded)
        self._session.mount("https://", bounded)
        if settings.MONAI_LABEL_DICOMWEB_USERNAME and settings.MONAI_LABEL_DICOMWEB_PASSWORD:
            self._session.auth = (settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD)
        self._prefixes = {"qido": settings.MONAI_LABEL_QIDO_PREFIX, "wado": settings.MONAI_LABEL_WADO_PREFIX}
        self.client = DICOMwebClientX(
            url=self._url,
            session=self._session,
            qido_url_prefix=self._prefixes["qido"],
            wado_url_prefix=self._prefixes["wado"],
        )
        self.client.set_http_retry_params(retry=False)

    def get(self, path: str, query: str) -> tuple[int, str, bytes]:
        """Lead a web page's request on.

        Args:
            path: of DICOMweb, below the service; `qido/` or `wado/` may stand before it.
            query: as it came.

        Returns:
            (status, content type, body).

        Raises:
            RefusedError: the path is no study, series or instance.
            ArchiveError: the archive does not answer as it should.
        """
        found = _DICOMWEB.fullmatch(path)
        if found is None:
            raise RefusedError(404, "of the archive there are studies, series and instances")
        service, below = found.groups()
        if below.endswith("metadata"):  # OHIF asks the wrong service
            service = "wado"
        parts = (self._url, self._prefixes.get(service), below)
        answer = self._session.get("/".join(filter(None, parts)), params=query)
        return answer.status_code, answer.headers.get("content-type", ""), answer.content


class _ArchiveAnswers(WholeAnswers):
    """Answers of the archive, by the server's settings; none leads to another address."""

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        """One answer.

        Raises:
            ArchiveError: it does not come, not in time, is too large, or leads elsewhere.
        """
        try:
            response = super().send(request, *arguments, **options)
        except NoWholeAnswerError as error:
            raise ArchiveError(f"{error}{_SETTINGS.get(type(error), '')}") from error
        if response.is_redirect:
            raise ArchiveError("it leads elsewhere")
        return response


_SETTINGS = {TooLateError: " (MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT)", TooLargeError: " (--max_upload_mb)"}


class ArchiveDatastore(FolderDatastore):
    """Radiographs are fetched from the archive when they are asked for, and stay DICOM; labels stay on this server.

    As NIfTI, MONAI Label's way, a radiograph would lose its window, and MONOCHROME1 its polarity. DICOM SEG, in which
    MONAI Label would send labels to the archive, needs a geometry that CR and DX images do not state.

    Args:
        archive: where radiographs are.
        datastore_path: folder for what is fetched and drawn.
        findings: what segments may be called.
        filters: searches for series, one after the other, such as {"Modality": "DX"}.
        reading: as `FolderDatastore`.
    """

    def __init__(
        self,
        archive: Archive,
        datastore_path: str,
        findings: list[str],
        filters: list[dict[str, Any]],
        reading: ReadingOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._client, self._filters = archive.client, filters
        super().__init__(datastore_path, findings, reading, extensions=EXTENSIONS)

    def list_images(self) -> list[str]:
        """Series Instance UIDs of the archive's radiographs."""
        return sorted({series.SeriesInstanceUID for series in self._series({})})

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series on which nothing is drawn."""
        return sorted(set(self.list_images()) - set(self.get_labeled_images()))

    def get_image_uri(self, image_id: str) -> str:
        """The path of the radiograph's DICOM file, fetched if it is not here yet.

        Raises:
            RefusedError: there is no such series, or it is not one radiograph.
            ArchiveError: the archive does not answer as it should.
        """
        checked_name(image_id, "image")
        if not Path(super().get_image_uri(image_id)).is_file():
            series = self._series({"SeriesInstanceUID": image_id})
            study = next((str(each.StudyInstanceUID) for each in series if each.SeriesInstanceUID == image_id), None)
            if study is None:
                raise RefusedError(404, "the archive has no such series of radiographs")
            with _archives_fault():
                images = self._client.retrieve_series(study, image_id, media_types=ANY_SYNTAX)
            if len(images) != 1:
                raise RefusedError(422, f"the series holds {len(images)} images; wanted one radiograph a series")
            with atomic_path(Path(self._datastore.image_path()) / f"{image_id}.dcm") as temporary:
                images[0].save_as(temporary)
            self.refresh()
        return super().get_image_uri(image_id)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep what was drawn; OHIF sends the bare values of the pixels.

        Raises:
            RefusedError: as `FolderDatastore`.
        """
        radiograph = self.get_image_uri(image_id)
        if label_filename.endswith(".bin"):
            _, meta = read_radiograph(radiograph, self._reading)
            height, width = meta["stored_size"]
            values = np.fromfile(label_filename, np.uint8)
            if values.size != height * width:
                raise RefusedError(422, f"the mask must be {width} x {height} bytes, one a pixel of the radiograph")
            mask = np.ascontiguousarray(values.reshape(height, width).T[..., None])
            label_filename = str(Path(label_filename).with_suffix(".nii.gz"))
            nibabel.save(nibabel.Nifti1Image(mask, viewer_affine(radiograph, meta)), label_filename)
        return super().save_label(image_id, label_filename, label_tag, label_info)

    def _series(self, search: Mapping[str, Any]) -> list[Dataset]:
        """What the archive knows of the series that a filter and a search find.

        It may give fewer at a time than it is asked for, so it is asked until nothing new comes.

        Raises:
            ArchiveError: it does not answer as it should, or finds too many.
        """
        found: dict[str, Dataset] = {}
        with _archives_fault():
            for each in self._filters:
                came, more = 0, True
                while more:
                    page = self._client.search_for_series(
                        search_filters={**each, **search}, limit=PAGE, offset=came or None
                    )
                    new = {str(series.SeriesInstanceUID): series for series in map(Dataset.from_json, page)}
                    more = not new.keys() <= found.keys()  # an archive may not know of offsets
                    came += len(page)
                    found |= new
                    if len(found) > MOST_SERIES:
                        raise ArchiveError(f"it finds more than {MOST_SERIES} series; ask for fewer (--modalities)")
        return list(found.values())

    def _marks(self, image_id: str) -> dict[str, str]:
        return {}  # a Series Instance UID names one radiograph for ever; fetched anew, its file may have other bytes


@contextmanager
def _archives_fault() -> Iterator[None]:
    """What fails in taking an answer apart is no fault of the request, nor of this server."""
    try:
        yield
    except (ArchiveError, requests.RequestException):
        raise
    except Exception as error:
        raise ArchiveError(f"an answer that is no DICOM: {type(error).__name__}") from error
