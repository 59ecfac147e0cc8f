"""Receive radiographs by C-STORE and send results back.

python -m scripts.dicom_node --bundle models/demo --send_to ORTHANC@127.0.0.1:4242
"""

import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import fire

from bundle.node.analyser import Analyser
from bundle.node.queue import DiskQueue, QueueInUseError
from bundle.node.receiver import start_receiver, stop_receiver
from bundle.node.sender import make_sender
from bundle.node.service import Node


def main(
    bundle: str = "models/demo",
    send_to: str | None = None,
    queue: str = "eval/node",
    host: str = "127.0.0.1",
    port: int = 11112,
    ae_title: str = "PATCHCLIP",
    allowed: str | Sequence[object] | int = (),
    capacity: int = 1000,
) -> None:
    """Run until interrupted; what waits then is taken up by the next run.

    Args:
        bundle: folder of a packaged bundle (`scripts.package_bundle`).
        send_to: `AET@host:port`, or the http(s) address of a DICOMweb server; without it results stay in the queue.
        queue: folder of the queue. It holds radiographs of patients.
        host: address to listen on.
        port: of C-STORE.
        ae_title: ours.
        allowed: calling AE titles; without any, all.
        capacity: the most objects that may wait; beyond it a sender is told to come again.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes values of the objects
    callers = tuple(
        str(title).strip() for title in (allowed if isinstance(allowed, list | tuple) else str(allowed).split(","))
    )
    try:
        sender = None if send_to is None else make_sender(send_to, str(ae_title))
        waiting = DiskQueue(queue, capacity)
        tempfile.tempdir = str(waiting.work)  # what is left there by a kill goes at the next start
        analyser = Analyser(Path(bundle))
        node = Node(waiting, analyser, sender)
        server = start_receiver(waiting, host, port, str(ae_title), callers, options=analyser.reading)
    except (ValueError, OSError, QueueInUseError) as error:
        sys.exit(str(error))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node.start()
    listening = f"{host}:{server.server_address[1]}"
    print(f"{ae_title} listens on {listening}, queue {waiting.folder}: {waiting.counts()}", flush=True)
    stop.wait()
    stop_receiver(server)
    node.stop()
    print(f"Stopped: {waiting.counts()}")


if __name__ == "__main__":
    fire.Fire(main)
