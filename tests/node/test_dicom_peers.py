"""Peers that are idle, silent or say nonsense, on the node's own receiver: a modality is served all the same."""

import logging
import socket
import time
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from bundle.node.peers import Limits
from bundle.node.queue import DiskQueue
from bundle.node.receiver import OUT_OF_RESOURCES, start_receiver, stop_receiver
from bundle.node.sender import DUPLICATE
from bundle.watch import Watch
from tests.orthanc import wait_for
from tests.tiny import write_dicom


@pytest.fixture
def queue(tmp_path, monkeypatch):
    queue = DiskQueue(tmp_path / "queue", capacity=3)
    monkeypatch.setattr("tempfile.tempdir", str(queue.work))
    return queue


@pytest.fixture
def start(queue):
    servers = []

    def start(**options):
        servers.append(start_receiver(queue, port=0, **options))
        return servers[-1].server_address[1]

    yield start
    for server in servers:
        stop_receiver(server)


@pytest.fixture
def radiograph(tmp_path):
    return dcmread(write_dicom(tmp_path / "radiograph.dcm", np.arange(96 * 80).reshape(96, 80) % 4096))


def associate(port):
    entity = AE(ae_title="TEST")
    entity.add_requested_context(DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", port, ae_title="PATCHCLIP")


def store(port, dataset):
    association = associate(port)
    assert association.is_established
    answer = association.send_c_store(dataset)
    association.release()
    return answer


@pytest.mark.parametrize("kind", ["associations", "connections"])
def test_ten_that_say_nothing_do_not_keep_the_eleventh_from_it(start, queue, radiograph, kind):
    port = start()
    silent = []
    for _ in range(10):
        silent.append(associate(port) if kind == "associations" else socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.02)
    try:
        assert store(port, radiograph).Status == 0
    finally:
        for one in silent:
            one.abort() if kind == "associations" else one.close()
    assert queue.counts()["incoming"] == 1


def test_one_in_the_middle_of_a_message_keeps_its_place(start, queue, radiograph):
    port = start(limits=Limits(places=1))
    first = associate(port)
    parts = list(message(radiograph, first))
    first.dul.send_pdu(parts[0])  # the command set
    wait_for(lambda: list(queue.work.iterdir()), 10)
    assert not associate(port).is_established
    for part in parts[1:]:
        first.dul.send_pdu(part)
    wait_for(lambda: queue.counts()["incoming"], 10)
    wait_for(lambda: associate(port).is_established, 10)  # the first is idle now


@pytest.mark.parametrize("sent", [b"", b"\x01\x00\x00\x00\x01\x00half"], ids=["nothing", "half a request"])
def test_a_connection_that_is_silent_ends(start, sent):
    port = start(limits=Limits(silent=0.3, idle=0.3))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        assert connection.recv(1000) == b""  # its end; TimeoutError without one


def test_an_association_that_is_idle_ends(start):
    association = associate(start(limits=Limits(idle=0.3)))
    wait_for(lambda: not association.is_established, 20)


def test_a_receiver_that_dies_ends_the_node(queue, monkeypatch):
    watch = Watch()
    server = start_receiver(queue, port=0, watch=watch)
    monkeypatch.setattr(server, "service_actions", lambda: 1 / 0)
    assert watch.over.wait(20)
    assert watch.fault.startswith("the thread receiver has failed: ZeroDivisionError")
    stop_receiver(server)


@pytest.mark.parametrize("fault", ["no UID", "empty UID", "no priority", "another context"])
def test_a_message_that_is_none_ends_its_association_alone(start, queue, radiograph, fault, caplog):
    port = start()
    bystander, association = associate(port), associate(port)
    for part in message(radiograph, association, fault):
        if fault == "another context":
            part.presentation_data_value_list = [[99, data] for _, data in part.presentation_data_value_list]
        association.dul.send_pdu(part)
    wait_for(lambda: not association.is_established, 20)
    wait_for(lambda: "its message can't be understood" in caplog.text, 20)
    assert not list(queue.work.iterdir())
    assert bystander.send_c_store(radiograph).Status == 0
    bystander.release()
    assert store(port, radiograph).Status == 0
    assert "Secret" not in caplog.text


def message(dataset, association, fault=None):
    """The parts of a C-STORE, which pynetdicom would not send with a fault."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    data = BytesIO()
    target = DicomFileLike(data)
    target.is_implicit_VR, target.is_little_endian = False, True
    write_dataset(target, dataset)
    request.DataSet = data
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    if fault == "no UID":
        del message.command_set.AffectedSOPInstanceUID
    elif fault == "empty UID":
        message.command_set.AffectedSOPInstanceUID = ""
    elif fault == "no priority":
        del message.command_set.Priority
    return message.encode_msg(association.accepted_contexts[0].context_id, 16382)


def test_other_content_under_a_known_uid_is_refused_and_the_first_kept(start, queue, radiograph, caplog):
    caplog.set_level(logging.WARNING)
    port = start()
    assert store(port, radiograph).Status == 0
    assert store(port, radiograph).Status == 0  # the same again
    other = dcmread(radiograph.filename)
    other.PixelData = bytes(reversed(other.PixelData))
    answer = store(port, other)
    assert answer.Status == DUPLICATE
    assert "other content" in answer.ErrorComment
    key = queue.next_incoming().key
    assert dcmread(queue.file(key)).PixelData == radiograph.PixelData
    queue.finish(key, [])
    assert store(port, other).Status == DUPLICATE
    assert store(port, radiograph).Status == 0
    assert queue.counts() == {"incoming": 0, "results": 0, "done": 1, "refused": 0}
    assert "(0111)" in caplog.text


@pytest.mark.parametrize("limit", ["objects", "bytes", "disk", "object"])
def test_what_has_no_room_is_not_written_and_the_limit_named(start, queue, tmp_path, limit):
    port = start(max_bytes=300_000 if limit == "object" else 200_000_000)
    queue.capacity = 0 if limit == "objects" else 1000
    queue.max_bytes = 300_000 if limit == "bytes" else 10**12
    queue.min_free = 10**18 if limit == "disk" else 0
    large = dcmread(write_dicom(tmp_path / "large.dcm", np.zeros((2000, 2000))))
    most = []
    association = associate(port)
    association.bind(evt.EVT_DATA_SENT, lambda _: most.append(size_of(queue.work)))
    answer = association.send_c_store(large)
    assert answer.Status == OUT_OF_RESOURCES
    named = {"objects": "0 objects lie here; the queue takes 0", "bytes": "0 bytes lie here; the queue takes 300000"}
    named |= {"disk": "the queue leaves", "object": "larger than 300000 bytes"}
    assert named[limit] in answer.ErrorComment
    assert max(most) < 400_000  # of 8 MB
    queue.capacity, queue.max_bytes, queue.min_free = 1000, 10**12, 0
    small = dcmread(write_dicom(tmp_path / "small.dcm", np.arange(96 * 80).reshape(96, 80)))
    assert association.send_c_store(small).Status == 0
    association.release()
    assert queue.counts()["incoming"] == 1


def size_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
