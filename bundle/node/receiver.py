"""Takes radiographs from a PACS or a modality by C-STORE."""

import logging
import re
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from bundle.loopback import is_loopback
from bundle.node.queue import DiskQueue, QueueFullError
from bundle.node.sender import AE_TITLE, SUCCESS
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph

logger = logging.getLogger(__name__)

# PS3.4 table B.2-1
OUT_OF_RESOURCES, NOT_THE_CLASS, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
STORAGE = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR little endian
    "1.2.840.10008.1.2",  # implicit VR little endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.4.91",
)


def start_receiver(
    queue: DiskQueue,
    host: str = "127.0.0.1",
    port: int = 11112,
    ae_title: str = "PATCHCLIP",
    allowed: tuple[str, ...] = (),
    max_bytes: int = 200_000_000,
    options: ReadingOptions = DEFAULT_OPTIONS,
) -> ThreadedAssociationServer:
    """Listen for C-ECHO and C-STORE of CR and DX images; returns at once.

    An object is answered with success only when it is on the disk of the queue, or known already. It is refused, and
    so stays with its sender, with out of resources (A700) where the queue is full, the object larger than `max_bytes`
    (which shows when it has been received), or the disk fails; with A900 where what it says of itself contradicts the
    request; and with C000 and a reason where it is not one readable grey radiograph. The log names keys of the queue,
    nothing of the object.

    Args:
        queue: where objects go.
        host: address to listen on; every other than loopback is open to whoever reaches it.
        port: 0 for a free one.
        ae_title: called AE title, which a sender must name.
        allowed: calling AE titles; none allows all.
        max_bytes: largest object.
        options: with which the node reads.

    Returns:
        pynetdicom's server; `shutdown()` ends it.

    Raises:
        OSError: the address is in use or not of this machine.
        ValueError: an AE title that is none.
    """
    for title in (ae_title, *allowed):
        if not re.fullmatch(AE_TITLE, title):
            raise ValueError(f"{title!r} is no AE title: wanted 1 to 16 ASCII characters without backslash or @")
    _config.STORE_RECV_CHUNKED_DATASET = True  # an object goes to a temporary file, not into memory
    entity = AE(ae_title=ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(allowed)
    entity.add_supported_context(Verification)
    for storage in STORAGE:
        entity.add_supported_context(storage, list(TRANSFER_SYNTAXES))
    if not is_loopback(host):
        logger.warning("The node listens on %s: whoever reaches that address can send to it, unencrypted.", host)
    handlers = [
        (evt.EVT_C_STORE, _store, [queue, max_bytes, options]),
        (evt.EVT_CONN_CLOSE, _discard),
    ]
    try:
        return entity.start_server((host, port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {host}:{port}; choose another port or host") from error


def stop_receiver(server: ThreadedAssociationServer) -> None:
    """End the server and every association: after it nothing more is taken in."""
    server.shutdown()
    for association in server.active_associations:
        association.abort()
        association.join(30)


def _store(event: Any, queue: DiskQueue, max_bytes: int, options: ReadingOptions) -> Dataset:
    try:
        return _answer(*_take(event.dataset_path, event.request, queue, max_bytes, options))
    except OSError:  # the sender keeps it, and comes again
        logger.exception("An object could not be taken: the disk failed")
        return _answer(OUT_OF_RESOURCES, "the node's disk failed or is full")
    except Exception:  # the association must get an answer, and the node go on
        logger.exception("An object could not be taken")
        return _answer(CANNOT_UNDERSTAND, "internal error, see the node's log")


def _discard(event: Any) -> None:
    """What has come of an object whose sender broke off: a patient's radiograph, in pynetdicom's temporary file."""
    message = event.assoc.dimse.message
    if message is not None and (file := getattr(message, "_data_set_file", None)) is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)


def _take(file: Path, request: Any, queue: DiskQueue, max_bytes: int, options: ReadingOptions) -> tuple[int, str]:
    uid = str(request.AffectedSOPInstanceUID)
    key = queue.key(uid)
    if (size := file.stat().st_size) > max_bytes:
        return OUT_OF_RESOURCES, f"{size} bytes; the node takes {max_bytes}"
    if queue.knows(key):
        logger.info("%s: known already.", key)
        return SUCCESS, ""
    try:
        read_radiograph(file, options)
        header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SOPClassUID"])
    except RadiographError as error:
        reason = str(error).removeprefix(f"{file}: ")
        logger.warning("Refused %s: %s", key, reason)
        return CANNOT_UNDERSTAND, reason
    if header.get("SOPInstanceUID") != uid or header.get("SOPClassUID") != request.AffectedSOPClassUID:
        return NOT_THE_CLASS, "SOP class or instance UID differs from the request's"
    try:
        queue.put(key, file)
    except QueueFullError as error:
        logger.warning("Refused %s: %s", key, error)
        return OUT_OF_RESOURCES, str(error)
    logger.info("%s: taken in.", key)
    return SUCCESS, ""


def _answer(status: int, reason: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    if reason:
        answer.ErrorComment = reason.encode("ascii", "replace").decode()[:64]  # LO
    return answer
