"""A DICOMweb archive, which may be silent, slow or endless: what is asked of it has an end, in seconds and bytes."""

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import requests
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from pydicom import Dataset
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from bundle.atomic import atomic_path
from bundle.label.datastore import EXTENSIONS, FolderDatastore, checked_name
from bundle.label.refusal import ArchiveError, RefusedError
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.results.findings_file import viewer_affine

AT_ONCE = 16  # more requests than these do not wait for the archive
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
        bounded = _BoundedAdapter(seconds, most)
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


class _BoundedAdapter(HTTPAdapter):
    """Answers come whole, in time and below a size, or not at all; none leads to another address.

    Timeouts of `requests` are for one piece of an answer, and an archive may send it byte by byte. So each answer is
    waited for in a thread of its own, and when the time is over its connection is shut.
    """

    def __init__(self, seconds: float, most: int) -> None:
        super().__init__()
        self._seconds, self._most = seconds, most
        self._free = threading.Semaphore(AT_ONCE)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        """One answer.

        Raises:
            ArchiveError: it does not come, not in time, is too large, or leads elsewhere.
        """
        if not self._free.acquire(blocking=False):
            raise ArchiveError(f"{AT_ONCE} requests wait for the archive already")
        answer: Future[requests.Response] = Future()
        used: list[Any] = []
        threading.Thread(target=self._wait, args=(request, options, answer, used), daemon=True).start()
        try:
            return answer.result(self._seconds)
        except TimeoutError as error:
            for connection in used:
                with suppress(OSError, AttributeError):  # it ends at this moment
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise ArchiveError(
                f"no whole answer in {self._seconds:g} s (MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT)"
            ) from error

    def _wait(self, request: Any, options: dict[str, Any], answer: Future[requests.Response], used: list[Any]) -> None:
        _THREAD.used = used
        try:
            answer.set_result(self._whole(request, options))
        except Exception as error:  # raised again by whoever waits
            answer.set_exception(error)
        finally:
            self._free.release()

    def _whole(self, request: Any, options: dict[str, Any]) -> requests.Response:
        body = bytearray()
        try:
            response = super().send(request, **{**options, "stream": True, "timeout": self._seconds})
            with response:
                if response.is_redirect:
                    raise ArchiveError("it leads elsewhere")
                for part in response.iter_content(1 << 16):
                    body += part
                    if len(body) > self._most:
                        raise ArchiveError(f"an answer of more than {self._most / 1e6:.0f} MB (--max_upload_mb)")
        except requests.RequestException as error:
            raise ArchiveError(f"{type(error).__name__}; is it running?") from error
        response._content = bytes(body)  # what `response.content` gives; there is no public way to put it there
        return response


_THREAD = threading.local()


class _Watched:
    """A connection that its thread's `used` lists, so that another thread can end it."""

    def request(self, *arguments: Any, **named: Any) -> None:
        """As the connection's own."""
        _THREAD.used.append(self)
        super().request(*arguments, **named)  # type: ignore[misc]


class _PlainConnection(_Watched, HTTPConnection):
    pass


class _SecureConnection(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


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
                images = self._client.retrieve_series(study, image_id)
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
        """What the archive knows of the series that a filter and a search find."""
        with _archives_fault():
            return [
                Dataset.from_json(series)
                for each in self._filters
                for series in self._client.search_for_series(search_filters={**each, **search})
            ]

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
