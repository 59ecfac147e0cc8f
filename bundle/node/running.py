"""The whole node, from its start to its end."""

import logging
import signal
from collections.abc import Callable

from pynetdicom.transport import ThreadedAssociationServer

from bundle.node.monitor import start_monitor
from bundle.node.receiver import stop_receiver
from bundle.node.service import Node

logger = logging.getLogger(__name__)


def run_node(
    node: Node,
    start_receiver: Callable[[], ThreadedAssociationServer],
    monitor_port: int | None = None,
    started: Callable[[str], None] = logger.info,
) -> str | None:
    """Run until SIGINT, SIGTERM, or the end of a thread that the node can't do without.

    Args:
        node: not yet started.
        start_receiver: listens from then on, under the node's watch.
        monitor_port: of `/healthz` and `/metrics`; None for none.
        started: told where it listens and what waits.

    Returns:
        Why it ended, where nobody wanted it; None otherwise.

    Raises:
        OSError: an address is in use.
    """
    monitor = None if monitor_port is None else start_monitor(monitor_port, node.queue.loads, node.watch)
    server = start_receiver()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: node.watch.over.set())
    node.start()
    host, port = server.server_address[:2]
    started(f"listens on {host}:{port}, queue {node.queue.folder}: {node.queue.counts()}")
    node.watch.over.wait()
    fault = node.watch.fault
    stop_receiver(server)
    if monitor is not None:
        monitor.shutdown()
        monitor.server_close()
    if fault is None:  # in hand what another thread may never give back
        node.stop()
    return fault
