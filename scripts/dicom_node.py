"""Receive radiographs by C-STORE and send results back.

python -m scripts.dicom_node --bundle models/demo --send_to ORTHANC@127.0.0.1:4242
"""

import logging
import signal
import threading
from pathlib import Path

import fire

from bundle.node.analyser import Analyser
from bundle.node.queue import DiskQueue
from bundle.node.receiver import start_receiver
from bundle.node.sender import make_sender
from bundle.node.service import Node


def main(
    bundle: str = "models/demo",
    send_to: str | None = None,
    queue: str = "eval/node",
    host: str = "127.0.0.1",
    port: int = 11112,
    ae_title: str = "PATCHCLIP",
    allowed: tuple[str, ...] | str = (),
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
    waiting = DiskQueue(queue, capacity)
    sender = None if send_to is None else make_sender(send_to, ae_title)
    node = Node(waiting, Analyser(Path(bundle)), sender)
    callers = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    server = start_receiver(waiting, host, port, ae_title, callers)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node.start()
    print(
        f"{ae_title} listens on {host}:{server.server_address[1]}, queue {waiting.folder}: {waiting.counts()}",
        flush=True,
    )
    stop.wait()
    server.shutdown()
    node.stop()
    print(f"Stopped: {waiting.counts()}")


if __name__ == "__main__":
    fire.Fire(main)
