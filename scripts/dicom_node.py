"""Receive radiographs by C-STORE and send results back.

python -m scripts.dicom_node --bundle models/demo --send_to ORTHANC@127.0.0.1:4242
python -m scripts.dicom_node status --queue eval/node
python -m scripts.dicom_node requeue --queue eval/node [KEY or SOP Instance UID]
python -m scripts.dicom_node discard KEY --queue eval/node

`--config services.toml` gives what the command line does not (docs/deployment.md).
"""

import inspect
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fire
from fire.decorators import SetParseFn

from bundle.node.desk import Desk
from bundle.node.ledger import LedgerError
from bundle.node.queue import DiskQueue, QueueInUseError
from bundle.node.receiver import start_receiver
from bundle.node.running import run_node
from bundle.node.sender import make_sender
from bundle.node.service import Node
from bundle.service_settings import ServiceSettingsError, settings_of

fire.decorators.FIRE_METADATA = "_FIRE_METADATA"  # what begins otherwise, --help lists as a value of the command


def main(
    bundle: str = "models/demo",
    send_to: str | None = None,
    queue: str = "eval/node",
    host: str = "127.0.0.1",
    port: int = 11112,
    ae_title: str = "PATCHCLIP",
    allowed: str | Sequence[object] | int = (),
    capacity: int = 1000,
    queue_gb: float = 50,
    free_gb: float = 1,
    tries: int = 5,
    monitor_port: int | None = None,
) -> None:
    """Run until interrupted; what waits then is taken up by the next run.

    `--config FILE` reads [node] of a TOML file; what is given here wins.

    Args:
        bundle: folder of a packaged bundle (`scripts.package_bundle`).
        send_to: `AET@host:port`, or the http(s) address of a DICOMweb server; without it results stay in the queue.
        queue: folder of the queue. It holds radiographs of patients.
        host: address to listen on.
        port: of C-STORE.
        ae_title: ours.
        allowed: calling AE titles; without any, all.
        capacity: the most objects that may wait; beyond it a sender is told to come again.
        queue_gb: and their gigabytes.
        free_gb: gigabytes of the queue's disk that stay free.
        tries: of an object over which the network or the sender fails, before it is put aside.
        monitor_port: of /healthz and /metrics on 127.0.0.1; without it there are none.
    """
    from bundle.node.analyser import Analyser  # MONAI, which loads for seconds; the other commands need none of it

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes values of the objects
    callers = tuple(
        str(title).strip() for title in (allowed if isinstance(allowed, list | tuple) else str(allowed).split(","))
    )
    try:
        sender = None if send_to is None else make_sender(send_to, str(ae_title))
        waiting = DiskQueue(queue, capacity, round(queue_gb * 1e9), round(free_gb * 1e9))
        tempfile.tempdir = str(waiting.work)  # what is left there by a kill goes at the next start
        analyser = Analyser(Path(bundle))
        node = Node(waiting, analyser, sender, tries=tries)
        fault = run_node(
            node,
            lambda: start_receiver(
                waiting, host, port, str(ae_title), callers, options=analyser.reading, watch=node.watch
            ),
            monitor_port,
            lambda where: print(f"{ae_title} {where}", flush=True),
        )
    except (ValueError, OSError, QueueInUseError, LedgerError) as error:
        sys.exit(str(error))
    if fault is not None:
        sys.exit(f"The node has ended: {fault}")
    print(f"Stopped: {waiting.counts()}")


def status(queue: str = "eval/node") -> None:
    """Show what lies in a queue, and what was put aside with its reason; a node may work in it.

    Args:
        queue: its folder.
    """
    desk = _desk(queue)
    for state, load in desk.loads().items():
        print(f"{state}: {load.objects} objects, {load.bytes} bytes, the oldest came {load.oldest:.0f} s ago")
    for entry in desk.refused():
        print(f"{entry.key} ({entry.stage}, {entry.bytes} bytes): {entry.reason}")


@SetParseFn(str)  # a key or a UID may look like a number
def requeue(*which: str, queue: str = "eval/node") -> None:
    """Put what was put aside back to where it stopped; a node that works in the queue takes it up.

    Args:
        which: keys, as `status` shows them, or SOP Instance UIDs; without any, all.
        queue: its folder.
    """
    print(f"{_desk(queue).requeue(which)} put back")


@SetParseFn(str)  # a key or a UID may look like a number
def discard(*which: str, queue: str = "eval/node") -> None:
    """Remove what was put aside, for good.

    Args:
        which: keys, as `status` shows them, or SOP Instance UIDs.
        queue: its folder.
    """
    print(f"{_desk(queue).discard(which)} removed")


def _desk(queue: str) -> Desk:
    try:
        return Desk(queue)
    except LedgerError as error:
        sys.exit(str(error))


def _with_defaults(command: Callable[..., None], settings: Mapping[str, Any]) -> None:
    """Make a file's settings the defaults of a command, which --help then shows; all its parameters have one."""
    positional, named = command.__defaults__ or (), command.__kwdefaults__ or {}
    names = list(inspect.signature(command).parameters)[: len(positional)]
    command.__defaults__ = tuple(settings.get(name, value) for name, value in zip(names, positional, strict=True))
    command.__kwdefaults__ = {name: settings.get(name, value) for name, value in named.items()}


if __name__ == "__main__":
    COMMANDS = {"status": status, "requeue": requeue, "discard": discard}
    asked = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        given, arguments = settings_of("node", sys.argv[2:] if asked else sys.argv[1:])
    except ServiceSettingsError as error:
        sys.exit(str(error))
    chosen = asked or main
    _with_defaults(chosen, given)
    fire.Fire(chosen, arguments)
