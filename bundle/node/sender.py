"""Sends results to a PACS, by C-STORE or by STOW-RS."""

import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import requests
from pydicom import dcmread
from pynetdicom import AE


class NotDeliveredError(RuntimeError):
    """The PACS can't be reached or has no room: to be tried again."""


class RefusedError(RuntimeError):
    """The PACS will not have an object, now or later."""


class Sender(Protocol):
    """Delivers files, all or in any part: what is sent twice is the same object."""

    def send(self, files: Sequence[Path]) -> None:
        """Raises NotDeliveredError or RefusedError."""


def make_sender(address: str, ae_title: str = "PATCHCLIP", timeout: float = 30.0) -> Sender:
    """A sender for an address.

    Args:
        address: `AET@host:port` for C-STORE, or `http(s)://.../dicom-web` for STOW-RS; a user and password for the
            latter are taken from ~/.netrc, so that no command line shows them.
        ae_title: ours, for C-STORE.
        timeout: seconds for the network.

    Returns:
        The sender.

    Raises:
        ValueError: the address is neither.
    """
    if urlsplit(address).scheme in ("http", "https"):
        return StowSender(address, timeout)
    match = re.fullmatch(r"(?P<aet>[^@\s\\]{1,16})@(?P<host>[^@\s]+):(?P<port>\d{1,5})", address)
    if match is None:
        raise ValueError(
            f"send_to: found {address!r}; wanted AET@host:port, or the http(s) address of a DICOMweb server"
        )
    return StoreSender(match["aet"], match["host"].strip("[]"), int(match["port"]), ae_title, timeout)


class StoreSender:
    """By C-STORE, every file over one association.

    Args:
        called: AE title of the PACS.
        host: its address.
        port: its port.
        ae_title: ours.
        timeout: seconds for connecting, for the association and for each answer.
    """

    def __init__(self, called: str, host: str, port: int, ae_title: str, timeout: float) -> None:
        self.called, self.host, self.port = called, host, port
        self.ae_title, self.timeout = ae_title, timeout

    def send(self, files: Sequence[Path]) -> None:
        """Send all.

        Raises:
            NotDeliveredError: no association, no answer, or out of resources (A7xx).
            RefusedError: any other failure status, or no agreement on the object's class.
        """
        datasets = [dcmread(file) for file in files]
        entity = AE(ae_title=self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout
        entity.connection_timeout = self.timeout
        for storage, syntax in {(data.SOPClassUID, data.file_meta.TransferSyntaxUID) for data in datasets}:
            entity.add_requested_context(storage, syntax)
        association = entity.associate(self.host, self.port, ae_title=self.called)
        if not association.is_established:
            raise NotDeliveredError("the PACS does not accept an association")
        try:
            for data in datasets:
                name = data.SOPClassUID.name
                try:
                    status = association.send_c_store(data).get("Status")
                except ValueError as error:  # no accepted presentation context
                    raise RefusedError(f"the PACS does not take {name}") from error
                except RuntimeError as error:
                    raise NotDeliveredError("the PACS ended the association") from error
                if status is None or status >> 8 == 0xA7:
                    raise NotDeliveredError("the PACS gave no answer" if status is None else "the PACS has no room")
                if status != 0 and status >> 12 != 0xB:  # Bxxx: stored, with a warning
                    raise RefusedError(f"the PACS refused {name} with status {status:04X}")
        finally:
            if association.is_established:
                association.release()


class StowSender:
    """By STOW-RS (PS3.18, store transaction), all files in one request.

    Args:
        address: of the DICOMweb server, below which `studies` lies.
        timeout: seconds for connecting and for the answer.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address, self.timeout = f"{address.rstrip('/')}/studies", timeout

    def send(self, files: Sequence[Path]) -> None:
        """Send all.

        Raises:
            NotDeliveredError: no connection, no answer, or a status that says so (408, 425, 429, 5xx).
            RefusedError: any other status than 200.
        """
        boundary = uuid.uuid4().hex
        start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(start + file.read_bytes() + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        try:
            answer = requests.post(self.address, data=body, headers=headers, timeout=self.timeout)
        except requests.RequestException as error:
            raise NotDeliveredError(f"the DICOMweb server does not answer ({type(error).__name__})") from error
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise NotDeliveredError(f"the DICOMweb server answers {answer.status_code}")
        if answer.status_code != 200:  # 202: some were not stored
            raise RefusedError(f"the DICOMweb server refused the results with status {answer.status_code}")
