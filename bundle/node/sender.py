"""Sends results to a PACS, by C-STORE or by STOW-RS."""

import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from bundle.whole_answers import NoWholeAnswerError, WholeAnswers

AE_TITLE = r"[ -?A-\[\]-~]{1,16}"  # ASCII, without backslash; and, because of AET@host, without @
FAILED, REASON = "00081198", "00081197"  # Failed SOP Sequence, Failure Reason, as DICOM JSON names them
# PS3.4 table B.2-1 and PS3.7 annex C: a duplicate is there; a processing failure may pass
MOST_ANSWERED = 10_000_000  # bytes of an answer to STOW
SUCCESS, PROCESSING_FAILURE, DUPLICATE, NO_ROOM, WARNING = 0x0000, 0x0110, 0x0111, 0xA7, 0xB


class NotDeliveredError(RuntimeError):
    """The PACS could not take these results now: to be tried again."""


class UnreachableError(NotDeliveredError):
    """The PACS can't be reached or lets us do nothing: all results wait."""


class RefusedError(RuntimeError):
    """The PACS will not have an object, now or later."""


class Sender(Protocol):
    """Delivers files, all or in any part: what is sent twice is the same object."""

    def send(self, files: Sequence[Path]) -> None:
        """Raises NotDeliveredError, UnreachableError or RefusedError."""


def make_sender(address: str, ae_title: str = "PATCHCLIP", timeout: float = 30.0, whole: float = 300.0) -> Sender:
    """A sender for an address.

    Args:
        address: `AET@host:port` for C-STORE, or `http(s)://.../dicom-web` for STOW-RS; a user and password for the
            latter are taken from ~/.netrc, so that no command line shows them.
        ae_title: ours, for C-STORE.
        timeout: seconds for the network, of one wait.
        whole: seconds for a whole request of STOW-RS and its answer.

    Returns:
        The sender.

    Raises:
        ValueError: the address is neither.
    """
    if urlsplit(address).scheme in ("http", "https"):
        return StowSender(address, timeout, whole)
    match = re.fullmatch(rf"(?P<aet>{AE_TITLE})@(?P<host>[^@\s]+):(?P<port>\d{{1,5}})", address)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError(
            f"send_to: found {address!r}; wanted AET@host:port, the AE title of at most 16 ASCII characters without "
            "backslash, or the http(s) address of a DICOMweb server"
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
        """Send all; what the PACS refuses does not keep it from getting the others.

        Raises:
            UnreachableError: no connection, or no association.
            NotDeliveredError: no answer, out of resources (A7xx), or a processing failure (0110).
            RefusedError: any other failure but a duplicate (0111), or no agreement on an object's class.
        """
        datasets = [dcmread(file) for file in files]
        entity = AE(ae_title=self.ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout
        entity.connection_timeout = self.timeout
        for storage, syntax in sorted({(data.SOPClassUID, data.file_meta.TransferSyntaxUID) for data in datasets}):
            entity.add_requested_context(storage, syntax)
        try:
            association = entity.associate(self.host, self.port, ae_title=self.called)
        except OSError as error:  # such as a name that can't be resolved
            raise UnreachableError(f"the PACS can't be reached ({type(error).__name__})") from error
        if not association.is_established:
            if association.rejected_contexts:
                raise RefusedError("the PACS takes none of these classes")
            raise UnreachableError("the PACS does not accept an association")
        try:
            refused = [reason for data in datasets if (reason := _refusal(association, data))]
        finally:
            if association.is_established:
                association.release()
        if refused:
            raise RefusedError("; ".join(refused))


def _refusal(association: Any, data: Dataset) -> str | None:
    """Why the PACS will not have an object; None where it has it."""
    name = data.SOPClassUID.name
    try:
        status = association.send_c_store(data).get("Status")
    except ValueError:  # no accepted presentation context
        return f"the PACS does not take {name}"
    except RuntimeError as error:
        raise NotDeliveredError("the PACS ended the association") from error
    if status is None or status == PROCESSING_FAILURE or status >> 8 == NO_ROOM:
        raise NotDeliveredError("the PACS gave no answer" if status is None else f"the PACS answers {status:04X}")
    if status in (SUCCESS, DUPLICATE) or status >> 12 == WARNING:  # Bxxx: stored, with a warning
        return None
    return f"the PACS refused {name} with status {status:04X}"


class StowSender:
    """By STOW-RS (PS3.18, store transaction), all files in one request.

    Args:
        address: of the DICOMweb server, below which `studies` lies.
        timeout: seconds for connecting, and for each piece of the request or its answer.
        whole: seconds for all of it: a server that takes or sends byte by byte must not keep others waiting.
    """

    def __init__(self, address: str, timeout: float, whole: float) -> None:
        self.address, self._answers = f"{address.rstrip('/')}/studies", WholeAnswers(whole, MOST_ANSWERED, timeout)

    def send(self, files: Sequence[Path]) -> None:
        """Send all.

        Raises:
            UnreachableError: no connection, no answer, a redirection, or no permission (401, 403, 407).
            NotDeliveredError: a status that says so (408, 425, 429, 5xx).
            RefusedError: any other status, or an answer that names instances that were not stored.
        """
        boundary = uuid.uuid4().hex
        start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(start + file.read_bytes() + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        try:
            with requests.Session() as session:
                session.mount("http://", self._answers)
                session.mount("https://", self._answers)
                answer = session.post(self.address, data=body, headers=headers, allow_redirects=False)
        except NoWholeAnswerError as error:
            raise UnreachableError(f"the DICOMweb server does not answer ({error})") from error
        except (requests.RequestException, UnicodeError, ValueError) as error:
            raise UnreachableError(f"the DICOMweb server does not answer ({type(error).__name__})") from error
        status = answer.status_code
        if 300 <= status < 400:  # a POST that follows one becomes a GET
            raise UnreachableError(f"the DICOMweb server redirects ({status}); give --send_to its final address")
        if status in (401, 403, 407):
            raise UnreachableError(f"the DICOMweb server does not let us in ({status}); see ~/.netrc")
        if status in (408, 425, 429) or status >= 500:
            raise NotDeliveredError(f"the DICOMweb server answers {status}")
        if status not in (200, 202, 409):
            raise RefusedError(f"the DICOMweb server refused the results with status {status}")
        try:
            failed = [_failure(item) for item in answer.json().get(FAILED, {}).get("Value", [])]
        except (ValueError, AttributeError, TypeError) as error:
            raise UnreachableError(f"what answers ({status}) is no DICOMweb server") from error
        if reasons := [reason for reason in failed if reason != DUPLICATE]:
            raise RefusedError(f"the DICOMweb server refused {len(reasons)} of {len(files)}: {reasons[0]:04X}")


def _failure(item: dict[str, Any]) -> int:
    reason: int = item.get(REASON, {}).get("Value", [0])[0]
    return reason
