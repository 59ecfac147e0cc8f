"""Associations that say nothing must not keep a modality from the node: who has a place, and who makes way."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom.pdu import P_DATA_TF

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How many associations there may be, and how long they may say nothing.

    Args:
        places: of all together.
        of_a_peer: of those that come from one address.
        silent: seconds from the connection to the request for an association.
        idle: seconds between two messages, or in the middle of one.
    """

    places: int = 32
    of_a_peer: int = 8
    silent: float = 10.0
    idle: float = 60.0


DEFAULT_LIMITS = Limits()


@dataclass
class _Place:
    peer: str
    heard: float
    busy: bool = False  # from the first part of a message to its answer


class Peers:
    """Gives every connection a place; where there is none left, the one that has been idle longest loses its own.

    In the middle of a message none loses its place: a newcomer that finds no idle one is sent away.

    Args:
        limits: of associations.
        intake: what puts an association's messages together.
    """

    def __init__(self, limits: Limits, intake: Callable[[Any], Any]) -> None:
        self.limits, self.intake = limits, intake
        self._places: dict[Any, _Place] = {}
        self._lock = threading.Lock()

    def handlers(self) -> list[tuple[Any, Callable[[Any], None]]]:
        """For pynetdicom's server."""
        return [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_PDU_RECV, self._heard),
            (evt.EVT_DIMSE_SENT, self._answered),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]

    def _opened(self, event: Any) -> None:
        association, peer = event.assoc, event.address[0]
        association.dimse = self.intake(association)
        association.dul.socket.socket.settimeout(self.limits.idle)  # a part of a message must not be waited for forever
        with self._lock:
            for ended in [other for other in self._places if other.ident is not None and not other.is_alive()]:
                del self._places[ended]
            same = {other: place for other, place in self._places.items() if place.peer == peer}
            for held, most in ((same, self.limits.of_a_peer), (self._places, self.limits.places)):
                if len(held) < most:
                    continue
                idle = [other for other, place in held.items() if not place.busy]
                if not idle:
                    logger.warning("Sent a connection away: %d associations are at work, the limit", len(held))
                    _end(association)
                    return
                longest = min(idle, key=lambda other: held[other].heard)
                logger.warning("Ended an idle association: %d are open, the limit, and another wants in", len(held))
                del self._places[longest]
                _end(longest)
            self._places[association] = _Place(peer, time.monotonic())

    def _heard(self, event: Any) -> None:
        self._mark(event.assoc, isinstance(event.pdu, P_DATA_TF))

    def _answered(self, event: Any) -> None:
        self._mark(event.assoc, False)

    def _mark(self, association: Any, busy: bool) -> None:
        with self._lock:
            if association in self._places:
                self._places[association].heard, self._places[association].busy = time.monotonic(), busy

    def _closed(self, event: Any) -> None:
        event.assoc.dimse.discard()
        with self._lock:
            self._places.pop(event.assoc, None)


def _end(association: Any) -> None:
    """Close its connection; pynetdicom's threads for it see that and end, wherever they are."""
    try:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    except (OSError, AttributeError):  # it is closed already
        logger.info("The association had ended by itself")
