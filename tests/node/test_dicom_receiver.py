"""C-STORE into the node, by dcmtk's storescu and by pynetdicom where storescu will not do wrong."""

import errno
import io
import logging
import socket
import sqlite3
import subprocess
import tempfile
import time
from functools import partial
from statistics import median

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    AllTransferSyntaxes,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, _config, evt

from bundle.node import receiver
from bundle.node.queue import DiskQueue
from bundle.node.receiver import (
    CANNOT_UNDERSTAND,
    NOT_THE_CLASS,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    TRANSFER_SYNTAXES,
    start_receiver,
    stop_receiver,
)
from bundle.reading import ReadingOptions
from bundle.reading.radiograph import RadiographError
from tests.deadly import deadly
from tests.debian import path_of
from tests.node.marks import put_marks
from tests.orthanc import wait_for
from tests.tiny import write_dicom

logger = logging.getLogger(__name__)


@pytest.fixture
def queue(tmp_path):
    return DiskQueue(tmp_path / "queue", capacity=3)


@pytest.fixture
def node(queue):
    server = start_receiver(queue, port=0, max_bytes=200_000)
    yield server.server_address[1]
    server.shutdown()


@pytest.fixture
def radiograph(tmp_path):
    return write_dicom(tmp_path / "radiograph.dcm", np.arange(96 * 80).reshape(96, 80) % 4096)


def store(port, dataset, called="PATCHCLIP", syntax=ExplicitVRLittleEndian):
    """The answer to a C-STORE of a dataset, or of a file, whose UID in the request is then its file meta's."""
    entity = AE(ae_title="TEST")
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, syntax)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    answer = association.send_c_store(dataset)
    association.release()
    return answer


def test_storescu_is_served(node, queue, radiograph):
    for name, files in (("echoscu", []), ("storescu", [radiograph])):
        subprocess.run([path_of(name), "-aec", "PATCHCLIP", "127.0.0.1", str(node), *files], check=True, timeout=60)
    assert queue.counts()["incoming"] == 1
    taken = dcmread(queue.file(queue.next_incoming().key))
    assert taken == dcmread(radiograph)
    assert subprocess.run(["echoscu", "-aec", "OTHER", "127.0.0.1", str(node)], capture_output=True).returncode != 0


def test_the_node_reads_with_the_options_of_its_bundle(queue, tmp_path):
    one_window = write_dicom(tmp_path / "one.dcm", np.full((96, 80), 7), WindowCenter=8, WindowWidth=16)
    server = start_receiver(queue, port=0, options=ReadingOptions(voi_index=1))
    try:
        answer = store(server.server_address[1], dcmread(one_window))
    finally:
        stop_receiver(server)
    assert answer.Status == CANNOT_UNDERSTAND
    assert answer.ErrorComment.startswith("reading#voi_index is 1")


def test_a_duplicate_is_taken_once(node, queue, radiograph):
    for _ in range(2):
        assert store(node, dcmread(radiograph)).Status == 0
    assert queue.counts()["incoming"] == 1


def test_a_stream_that_ends_a_decoder_does_not_end_the_node(node, queue, radiograph):
    bad = dcmread(io.BytesIO(deadly(radiograph.read_bytes())))
    for _ in range(2):
        answer = store(node, bad, syntax=JPEGLosslessSV1)
        assert answer.Status == CANNOT_UNDERSTAND
        assert answer.ErrorComment
    assert store(node, dcmread(radiograph)).Status == 0
    assert queue.counts()["incoming"] == 1


def test_what_is_no_radiograph_is_refused_with_a_reason_and_the_next_is_taken(
    node, queue, radiograph, tmp_path, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)
    colour = dcmread(radiograph)
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.PixelData = colour.PixelData * 3
    short = dcmread(radiograph)
    short.PixelData = short.PixelData[:1000]
    empty = dcmread(radiograph)
    del empty.PixelData
    for broken in (colour, short, empty):
        answer = store(node, broken)
        assert answer.Status == CANNOT_UNDERSTAND
        assert 0 < len(answer.ErrorComment) <= 64
    contradicts = dcmread(radiograph)
    contradicts.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    contradicts.save_as(tmp_path / "contradicts.dcm")
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    assert store(node, tmp_path / "contradicts.dcm").Status == NOT_THE_CLASS
    monkeypatch.undo()
    large = write_dicom(tmp_path / "large.dcm", np.zeros((400, 400)))
    answer = store(node, dcmread(large))
    assert answer.Status == OUT_OF_RESOURCES
    assert "200000" in answer.ErrorComment
    assert sum(queue.counts().values()) == 0
    assert store(node, dcmread(radiograph)).Status == 0
    assert queue.counts()["incoming"] == 1
    for reason in (
        "(C000): the image is not grey",
        "(A900): SOP class or instance",
        "(A700): larger than 200000",
    ):
        assert reason in caplog.text
    for secret in ("Secret", "SECRET", dcmread(radiograph).SOPInstanceUID):
        assert secret not in caplog.text


def test_a_full_queue_sends_away(node, queue, tmp_path):
    answers = [store(node, dcmread(write_dicom(tmp_path / f"{i}.dcm", np.full((40, 40), i)))).Status for i in range(4)]
    assert answers == [0, 0, 0, OUT_OF_RESOURCES]
    queue.finish(queue.next_incoming().key, [tmp_path / "0.dcm"])
    queue.deliver(queue.next_results().key)
    assert store(node, dcmread(tmp_path / "3.dcm")).Status == 0


def test_other_classes_are_not_offered(node, caplog):
    other = Dataset()
    other.file_meta = FileMetaDataset()
    other.SOPClassUID, other.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    entity = AE()
    entity.add_requested_context(other.SOPClassUID)
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, "1.2.840.10008.1.2.4.111")
    for _ in range(2):
        association = entity.associate("127.0.0.1", node, ae_title="PATCHCLIP")
        assert not association.accepted_contexts
        association.abort()
    assert [record.getMessage() for record in caplog.records if record.name == "bundle.node.receiver"] == [
        "Proposed and not taken: Secondary Capture Image Storage (1.2.840.10008.5.1.4.1.1.7)",
        "Proposed and not taken: Digital X-Ray Image Storage - For Presentation (1.2.840.10008.5.1.4.1.1.1.1) in "
        "JPEG XL JPEG Recompression (1.2.840.10008.1.2.4.111)",
    ]


def test_what_the_reader_reads_is_offered_without_losses_first(node):
    """By pydicom's own list of decoders; an object of each is another matter, of the reader's tests."""
    readable = {syntax for syntax in AllTransferSyntaxes if has_decoder(syntax)}
    assert set(TRANSFER_SYNTAXES) == readable > {JPEGBaseline8Bit, JPEGExtended12Bit, ExplicitVRBigEndian, HTJ2K}
    entity = AE()
    for syntax in readable:
        entity.add_requested_context(DigitalXRayImageStorageForPresentation, syntax)
    entity.add_requested_context(ComputedRadiographyImageStorage, [JPEGBaseline8Bit, JPEG2000, JPEGLosslessSV1])
    association = entity.associate("127.0.0.1", node, ae_title="PATCHCLIP")
    try:
        taken = [(context.abstract_syntax, *context.transfer_syntax) for context in association.accepted_contexts]
    finally:
        association.release()
    assert set(taken) == {
        *((DigitalXRayImageStorageForPresentation, syntax) for syntax in readable),
        (ComputedRadiographyImageStorage, JPEGLosslessSV1),
    }


def has_decoder(syntax):
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_an_object_in_another_syntax_is_taken_in(node, queue, radiograph, monkeypatch, syntax):
    sent = dcmread(radiograph)
    if syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray((sent.pixel_array >> 4).astype(np.uint8)).save(stream, "JPEG")
        sent.BitsAllocated, sent.BitsStored, sent.HighBit = 8, 8, 7
        sent.PixelData = encapsulate([stream.getvalue()])
        sent["PixelData"].VR = "OB"
        sent["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        sent.PixelData = sent.pixel_array.astype(">u2").tobytes()
    sent.file_meta.TransferSyntaxUID = syntax
    dcmwrite(radiograph, sent, enforce_file_format=True)
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    assert store(node, radiograph, syntax=syntax).Status == 0
    assert dcmread(queue.file(queue.next_incoming().key)).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (KeyError("Secret^Name"), PROCESSING_FAILURE),
        (MemoryError(), PROCESSING_FAILURE),
        (OSError(errno.EIO, "Input/output error", "Secret"), OUT_OF_RESOURCES),
        (sqlite3.OperationalError("Secret"), OUT_OF_RESOURCES),
        (sqlite3.DatabaseError("Secret"), PROCESSING_FAILURE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_ours_sends_the_sender_back_and_quotes_nothing(
    node, queue, radiograph, monkeypatch, caplog, fault, status
):
    def failing(file, options):
        if isinstance(fault, OSError):  # as the reader reports what the operating system refuses
            raise RadiographError("the file cannot be read") from fault
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(receiver, "read_radiograph", failing)
        assert store(node, dcmread(radiograph)).Status == status
    assert "Secret" not in caplog.text
    assert type(fault).__name__ in caplog.text or "Input/output error" in caplog.text
    assert store(node, dcmread(radiograph)).Status == 0


def test_only_named_callers_if_wanted(queue, caplog):
    server = start_receiver(queue, port=0, allowed=("MODALITY",))
    try:
        entity = AE(ae_title="STRANGER")
        entity.add_requested_context("1.2.840.10008.1.1")
        assert not entity.associate("127.0.0.1", server.server_address[1], ae_title="PATCHCLIP").is_established
        wait_for(lambda: "Rejected an association: Calling AE title not recognised" in caplog.text, 10)
    finally:
        server.shutdown()


def test_a_transfer_that_breaks_off_leaves_no_radiograph(queue, radiograph, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(queue.work))
    server = start_receiver(queue, port=0)
    try:
        large = write_dicom(tmp_path / "large.dcm", np.zeros((2000, 2000)))
        entity = AE(ae_title="TEST")
        entity.add_requested_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", server.server_address[1], ae_title="PATCHCLIP")
        broken = []

        def break_off(event):
            if list(queue.work.iterdir()) and not broken:  # the first part has arrived
                broken.append(True)
                association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            time.sleep(0.01)

        association.bind(evt.EVT_DATA_SENT, break_off)
        association.send_c_store(dcmread(large))
        assert broken
        wait_for(lambda: not server.active_associations, 30)
        wait_for(lambda: not list(queue.work.iterdir()), 10)
        assert sum(queue.counts().values()) == 0
        assert store(server.server_address[1], dcmread(radiograph)).Status == 0
        assert not list(queue.work.iterdir())
    finally:
        server.shutdown()


def test_stopped_it_takes_nothing_more(queue, radiograph):
    server = start_receiver(queue, port=0)
    entity = AE(ae_title="TEST")
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", server.server_address[1], ae_title="PATCHCLIP")
    assert association.is_established
    stop_receiver(server)
    assert not server.active_associations
    wait_for(lambda: not association.is_established, 10)
    with pytest.raises(RuntimeError):
        association.send_c_store(dcmread(radiograph))
    assert sum(queue.counts().values()) == 0


def test_faults_of_the_address_are_named(queue, node):
    with pytest.raises(OSError, match=rf"in use: 127.0.0.1:{node}; choose another port"):
        start_receiver(queue, port=node)
    with pytest.raises(ValueError, match="'MUCH_TOO_LONG_A_TITLE' is no AE title"):
        start_receiver(queue, port=0, allowed=("MUCH_TOO_LONG_A_TITLE",))


def test_another_address_than_loopback_is_warned_of(queue, caplog):
    start_receiver(queue, host="0.0.0.0", port=0).shutdown()
    assert "whoever reaches that address can send to it" in caplog.text


def test_a_delivery_takes_no_more_steps_with_many_marks_than_with_few(tmp_path, radiograph, caplog):
    """Steps of SQLite's machine: time depends on what else the disk does, and is only told."""
    caplog.set_level(logging.INFO)
    steps, dataset = {}, dcmread(radiograph)
    for number in (100, 100_000):
        queue = DiskQueue(tmp_path / f"{number}")
        put_marks(queue, number)
        server = start_receiver(queue, port=0)

        def deliver(uid, queue=queue, port=server.server_address[1]):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
            begun = time.perf_counter()
            assert store(port, dataset).Status == 0
            stored = time.perf_counter()
            key = queue.next_incoming().key
            queue.finish(key, [radiograph])
            queue.deliver(key)
            return 1000 * (stored - begun), 1000 * (time.perf_counter() - stored)

        times = [median(column) for column in zip(*(deliver(f"1.2.{i}") for i in range(9)), strict=True)]
        logger.info("%d marks: association and C-STORE %.0f ms, results and delivery %.1f ms", number, *times)
        counted = []
        queue.ledger._db.set_progress_handler(partial(counted.append, 1), 1)
        deliver("1.3")
        queue.ledger._db.set_progress_handler(None, 1)
        stop_receiver(server)
        assert queue.counts()["done"] == min(number + 10, queue.remember)
        queue.close()
        steps[number] = len(counted)
    assert steps[100] <= steps[100_000] < 1.5 * steps[100]
