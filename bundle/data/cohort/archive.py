"""The images of an archive, one after the other: by DICOMweb, or by C-FIND and C-GET."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from bundle.data.sources.faults import SourceError

__all__ = ["Archive", "Dimse", "Image", "Web", "open_archive"]

STORAGE = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
"""What a cohort takes: others may be pictures of a screen, with a name on it."""
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_DIMSE = re.compile(r"(?P<aet>[^@\\\s]{1,16})@(?P<host>[^@\s]+):(?P<port>\d{1,5})")
_SECONDS = 60.0


class Image(NamedTuple):
    """Where an image is in the archive."""

    study: str
    series: str
    instance: str


class Archive(Protocol):
    """What a cohort asks of an archive."""

    def find(self, filters: Mapping[str, str]) -> Iterator[Image]:
        """The images of CR and DX that filters find: keywords of a study or series, such as StudyDate."""

    def get(self, image: Image) -> Dataset:
        """One image, with file meta information."""


def open_archive(address: str, ae_title: str = "PATCHCLIP") -> Archive:
    """An archive by its address.

    Args:
        address: the http(s) address of a DICOMweb service, or AET@host:port.
        ae_title: ours, by which the archive knows whom it answers.

    Raises:
        SourceError: it is neither.
    """
    for library in ("dicomweb_client", "urllib3", "pynetdicom"):  # whose logs have the UIDs of whom they ask for
        logging.getLogger(library).setLevel(logging.CRITICAL)
    if address.startswith(("http://", "https://")):
        return Web(address)
    if match := _DIMSE.fullmatch(address):
        return Dimse(match["aet"], match["host"].strip("[]"), int(match["port"]), ae_title)
    raise SourceError(f"--archive: found {address!r}; wanted http(s)://... of a DICOMweb service, or AET@host:port")


class Web:
    """QIDO-RS and WADO-RS. A user's name and password are those of ~/.netrc.

    Args:
        address: of the DICOMweb service.
    """

    def __init__(self, address: str) -> None:
        self._client = DICOMwebClient(address.rstrip("/"), session=requests.Session())

    def find(self, filters: Mapping[str, str]) -> Iterator[Image]:
        """See `Archive`; SourceError where the archive does not answer."""
        with _answers("the DICOMweb service"):
            for modality in ("CR", "DX"):
                wanted = {**filters, "Modality": modality}
                for series in self._client.search_for_series(search_filters=wanted, get_remaining=True):
                    found = Dataset.from_json(series)
                    study, name = str(found.StudyInstanceUID), str(found.SeriesInstanceUID)
                    for instance in self._client.search_for_instances(study, name, get_remaining=True):
                        each = Dataset.from_json(instance)
                        if each.get("SOPClassUID", STORAGE[0]) in STORAGE:
                            yield Image(study, name, str(each.SOPInstanceUID))

    def get(self, image: Image) -> Dataset:
        """See `Archive`; SourceError where the archive does not answer."""
        with _answers("the DICOMweb service"):
            as_stored = (("application/dicom", "*"),)
            data: Dataset = self._client.retrieve_instance(*image, media_types=as_stored)
            return data


class Dimse:
    """C-FIND and C-GET, over an association for each question.

    Args:
        called: AE title of the archive.
        host: its address.
        port: its port.
        ae_title: ours.
    """

    def __init__(self, called: str, host: str, port: int, ae_title: str) -> None:
        self._called, self._host, self._port = called, host, port
        self._entity = AE(ae_title=ae_title)
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = _SECONDS
        self._entity.connection_timeout = _SECONDS
        self._entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        self._entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        for storage in STORAGE:
            self._entity.add_requested_context(storage)

    def find(self, filters: Mapping[str, str]) -> Iterator[Image]:
        """See `Archive`; SourceError where the archive does not answer."""
        for study in self._ask("STUDY", {"StudyInstanceUID": "", **filters}):
            in_study = {"StudyInstanceUID": str(study.StudyInstanceUID)}
            for series in self._ask("SERIES", {**in_study, "SeriesInstanceUID": "", "Modality": ""}):
                if series.get("Modality") not in ("CR", "DX"):
                    continue
                in_series = {**in_study, "SeriesInstanceUID": str(series.SeriesInstanceUID)}
                for each in self._ask("IMAGE", {**in_series, "SOPInstanceUID": "", "SOPClassUID": ""}):
                    if each.get("SOPClassUID") in (None, "", *STORAGE):
                        yield Image(
                            str(study.StudyInstanceUID), str(series.SeriesInstanceUID), str(each.SOPInstanceUID)
                        )

    def get(self, image: Image) -> Dataset:
        """See `Archive`; SourceError where the archive does not answer, or sends something else."""
        names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        came: list[Dataset] = []

        def store(event: Any) -> int:
            data = event.dataset
            data.file_meta = event.file_meta
            came.append(data)
            return _SUCCESS

        with self._association([(evt.EVT_C_STORE, store)]) as association:
            query = _query("IMAGE", dict(zip(names, image, strict=True)))
            for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
                self._refuse(status)
        if [str(each.SOPInstanceUID) for each in came] != [image.instance]:
            raise SourceError(f"{self._called}: C-GET gave {len(came)} images; wanted the one that was asked for")
        return came[0]

    def _ask(self, level: str, keys: Mapping[str, str]) -> list[Dataset]:
        with self._association([]) as association:
            answers = association.send_c_find(_query(level, keys), StudyRootQueryRetrieveInformationModelFind)
            found = []
            for status, answer in answers:
                self._refuse(status)
                if answer is not None:
                    found.append(answer)
            return found

    def _refuse(self, status: Dataset) -> None:
        code = status.get("Status")
        if code not in (_SUCCESS, *_PENDING):
            said = "gave no answer" if code is None else f"answers {code:04X}"
            raise SourceError(f"{self._called}: the archive {said}; does it know the AE title {self._entity.ae_title}?")

    @contextmanager
    def _association(self, handlers: list[Any]) -> Iterator[Any]:
        roles = [build_role(storage, scp_role=True) for storage in STORAGE]
        try:
            association = self._entity.associate(
                self._host, self._port, ae_title=self._called, ext_neg=roles, evt_handlers=handlers
            )
        except OSError as error:  # such as a name that can't be resolved
            raise SourceError(f"{self._called}: cannot be reached ({type(error).__name__})") from error
        if not association.is_established:
            raise SourceError(f"{self._called}: no association; wanted an archive that answers at that address")
        try:
            yield association
        finally:
            association.release()


def _query(level: str, keys: Mapping[str, str]) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(query, name, value)
    return query


@contextmanager
def _answers(who: str) -> Iterator[None]:
    """What an archive's client raises, in words that quote none of its answers."""
    try:
        yield
    except (requests.RequestException, ValueError, AttributeError, KeyError) as error:
        answer = getattr(error, "response", None)
        said = type(error).__name__ if answer is None else f"status {answer.status_code}"
        raise SourceError(f"--archive: {who} does not answer as it should ({said}); is it running there?") from None
