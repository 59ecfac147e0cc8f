"""Takes radiographs from a PACS or a modality by C-STORE."""

import logging
import re
import sqlite3
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from bundle.fault import place_of
from bundle.loopback import is_loopback
from bundle.node.intake import Intake
from bundle.node.peers import DEFAULT_LIMITS, Limits, Peers
from bundle.node.queue import DiskQueue, OtherContentError, QueueFullError
from bundle.node.sender import AE_TITLE, DUPLICATE, PROCESSING_FAILURE, SUCCESS
from bundle.reading.dicom_image import TRANSFER_SYNTAXES
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph
from bundle.watch import Watch

logger = logging.getLogger(__name__)

# PS3.4 table B.2-1
OUT_OF_RESOURCES, NOT_THE_CLASS, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
# A Secondary Capture is not taken: results are of this class too, and come back from a PACS that forwards what it gets.
STORAGE = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
SYNTAXES_NOT_TAKEN = 0x04  # of a proposed class, PS3.8 table 9-18
MOST_NAMED = 1000  # a sender that proposes what there is not must not fill the memory


def start_receiver(
    queue: DiskQueue,
    host: str = "127.0.0.1",
    port: int = 11112,
    ae_title: str = "PATCHCLIP",
    allowed: tuple[str, ...] = (),
    max_bytes: int = 200_000_000,
    options: ReadingOptions = DEFAULT_OPTIONS,
    limits: Limits = DEFAULT_LIMITS,
    watch: Watch | None = None,
) -> ThreadedAssociationServer:
    """Listen for C-ECHO and C-STORE of CR and DX images; returns at once.

    An object is answered with success only when it is on the disk of the queue, or known already with this content. It
    is refused, and so stays with its sender, with duplicate SOP instance (0111) where its UID is known with other
    content; with out of resources (A700) where the queue or the disk has no room for it, it is larger than `max_bytes`,
    or the disk fails; with A900 where what it says of itself contradicts the request; with C000 where it is not one
    readable grey radiograph; and with a processing failure (0110) for a fault of ours. Associations that are idle or
    silent end, and make way for others before (`Peers`). Offered are the transfer syntaxes that the reader reads. The
    log has the reason of every refusal, and once each the classes and transfer syntaxes that were proposed and are not
    taken; it names keys of the queue, nothing of the object.

    Args:
        queue: where objects go.
        host: address to listen on; every other than loopback is open to whoever reaches it.
        port: 0 for a free one.
        ae_title: called AE title, which a sender must name.
        allowed: calling AE titles; none allows all.
        max_bytes: largest object.
        options: with which the node reads.
        limits: of associations.
        watch: told if the thread that listens ends; one of its own by default.

    Returns:
        pynetdicom's server; `stop_receiver` ends it.

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
    entity.acse_timeout, entity.network_timeout = limits.silent, limits.idle
    entity.maximum_associations = 2 * limits.places  # those that end count too; `Peers` has the say
    entity.add_supported_context(Verification)
    for storage in STORAGE:
        entity.add_supported_context(storage, list(TRANSFER_SYNTAXES))
    if not is_loopback(host):
        logger.warning("The node listens on %s: whoever reaches that address can send to it, unencrypted.", host)
    peers = Peers(limits, lambda association: Intake(association, queue, max_bytes))
    handlers: list[Any] = [
        (evt.EVT_C_STORE, _store, [queue, max_bytes, options]),
        (evt.EVT_ACCEPTED, _name_not_taken, [set()]),
        (evt.EVT_REJECTED, _name_rejection),
        *peers.handlers(),
    ]
    try:
        server = entity.make_server((host, port), evt_handlers=handlers, server_class=ThreadedAssociationServer)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {host}:{port}; choose another port or host") from error
    entity._servers.append(server)  # as AE.start_server does, whose thread nobody could watch
    (watch or Watch()).start(server.serve_forever, "receiver")
    return server


def stop_receiver(server: ThreadedAssociationServer) -> None:
    """End the server and every association: after it nothing more is taken in."""
    server.shutdown()
    for association in server.active_associations:
        association.abort()
        association.join(30)


def _store(event: Any, queue: DiskQueue, max_bytes: int, options: ReadingOptions) -> Dataset:
    """Take an object in, or say why not."""
    key = queue.key(str(event.request.AffectedSOPInstanceUID))
    try:
        no_room = event.assoc.dimse.refused.pop(event.dataset_path, None)
        if no_room is None:
            status, reason = _take(event.dataset_path, event.request, key, queue, max_bytes, options)
        else:
            status, reason = OUT_OF_RESOURCES, no_room
    except QueueFullError as error:
        status, reason = OUT_OF_RESOURCES, str(error)
    except OtherContentError as error:
        status, reason = DUPLICATE, str(error)
    except (OSError, sqlite3.OperationalError) as error:  # the sender keeps it, and comes again
        what = error.strerror if isinstance(error, OSError) else type(error).__name__
        status, reason = OUT_OF_RESOURCES, f"the node's disk failed or is full: {what}"
    except Exception as error:  # the association must get an answer, and the node go on
        logger.error("%s: %s", key, place_of(error))
        status, reason = PROCESSING_FAILURE, "internal error, see the node's log"
    if status != SUCCESS:
        logger.warning("Refused %s (%04X): %s", key, status, reason)
    return _answer(status, reason)


def _name_not_taken(event: Any, named: set[str]) -> None:
    """Log what a sender proposed and will not be able to send; `named` has what was logged before."""
    proposed = {
        context.context_id: context for context in event.assoc.requestor.primitive.presentation_context_definition_list
    }
    for context in event.assoc.rejected_contexts:
        what = _named(context.abstract_syntax)
        if context.result == SYNTAXES_NOT_TAKEN:
            what += f" in {', '.join(map(_named, proposed[context.context_id].transfer_syntax))}"
        if what not in named and len(named) < MOST_NAMED:
            named.add(what)
            logger.warning("Proposed and not taken: %s", what)


def _name_rejection(event: Any) -> None:
    """Log why an association did not come about."""
    logger.warning("Rejected an association: %s", event.assoc.acceptor.primitive.reason_str)


def _named(uid: Any) -> str:
    """Name and number of a UID; what is none is not repeated."""
    uid = UID(str(uid))
    return f"{uid.name} ({uid})" if uid.is_valid and uid.name != uid else str(uid) if uid.is_valid else "(not a UID)"


def _take(
    file: Path, request: Any, key: str, queue: DiskQueue, max_bytes: int, options: ReadingOptions
) -> tuple[int, str]:
    """The status of an object, and the reason of a refusal."""
    if file.stat().st_size > max_bytes:
        return OUT_OF_RESOURCES, f"larger than {max_bytes} bytes, the node's limit"
    if queue.knows(key, file):
        logger.info("%s: known already.", key)
        return SUCCESS, ""
    try:
        read_radiograph(file, options)
        header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "SOPClassUID"])
    except RadiographError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:  # the disk's fault
            raise error.__cause__ from error
        return CANNOT_UNDERSTAND, str(error).removeprefix(f"{file}: ")
    if (
        header.get("SOPInstanceUID") != request.AffectedSOPInstanceUID
        or header.get("SOPClassUID") != request.AffectedSOPClassUID
    ):
        return NOT_THE_CLASS, "SOP class or instance UID differs from the request's"
    queue.put(key, file)
    logger.info("%s: taken in.", key)
    return SUCCESS, ""


def _answer(status: int, reason: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    if reason:
        answer.ErrorComment = reason.encode("ascii", "replace").decode()[:64]  # LO
    return answer
