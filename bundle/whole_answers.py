"""HTTP answers that come whole, in time and below a size, or not at all: a server may be silent, slow or endless."""

import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class NoWholeAnswerError(Exception):
    """There is no answer that could be used; the message says why, and quotes nothing of it."""


class TooLateError(NoWholeAnswerError):
    """It did not come in time."""


class TooLargeError(NoWholeAnswerError):
    """It has too many bytes."""


class TooManyError(NoWholeAnswerError):
    """Others are waited for already."""


class WholeAnswers(HTTPAdapter):
    """An adapter for `requests.Session.mount`; redirections are left to the caller.

    Timeouts of `requests` are for one piece of a request or an answer, and a server may take the one or send the other
    byte by byte. So each answer is waited for in a thread of its own, and when the time is over its connection is shut.

    Args:
        seconds: for the whole request and its answer.
        most: bytes of the answer.
        wait: seconds for each piece.
        at_once: how many answers are waited for; more requests are turned away.
    """

    def __init__(self, seconds: float, most: int, wait: float, at_once: int = 1) -> None:
        super().__init__()
        self._seconds, self._most, self._wait, self._at_once = seconds, most, wait, at_once
        self._free = threading.Semaphore(at_once)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        """One answer.

        Raises:
            NoWholeAnswerError: it does not come, not in time, or is too large.
        """
        if not self._free.acquire(blocking=False):
            raise TooManyError(f"{self._at_once} requests wait already")
        answer: Future[requests.Response] = Future()
        used: list[Any] = []
        threading.Thread(target=self._run, args=(request, options, answer, used), daemon=True).start()
        try:
            return answer.result(self._seconds)
        except TimeoutError as error:
            for connection in used:
                with suppress(OSError, AttributeError):  # it ends at this moment
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise TooLateError(f"no whole answer in {self._seconds:g} s") from error

    def _run(self, request: Any, options: dict[str, Any], answer: Future[requests.Response], used: list[Any]) -> None:
        _THREAD.used = used
        try:
            answer.set_result(self._whole(request, options))
        except Exception as error:  # raised again by whoever waits
            answer.set_exception(error)
        finally:
            self._free.release()

    def _whole(self, request: Any, options: dict[str, Any]) -> requests.Response:
        body = bytearray()
        try:
            with super().send(request, **{**options, "stream": True, "timeout": self._wait}) as response:
                for part in response.iter_content(1 << 16):
                    body += part
                    if len(body) > self._most:
                        raise TooLargeError(f"an answer of more than {self._most / 1e6:.0f} MB")
        except requests.RequestException as error:
            raise NoWholeAnswerError(f"{type(error).__name__}; is it running?") from error
        response._content = bytes(body)  # what `response.content` gives; there is no public way to put it there
        return response


_THREAD = threading.local()


class _Watched:
    """A connection that its thread's `used` lists, so that another thread can end it."""

    def connect(self) -> None:
        """As the connection's own; a handshake may be slow too."""
        _THREAD.used.append(self)
        super().connect()  # type: ignore[misc]

    def request(self, *arguments: Any, **named: Any) -> None:
        """As the connection's own, which may be open from before."""
        _THREAD.used.append(self)
        super().request(*arguments, **named)  # type: ignore[misc]


class _PlainConnection(_Watched, HTTPConnection):
    pass


class _SecureConnection(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
