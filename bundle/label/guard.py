"""What stands before the routes: which requests are let in, and a line in the log for each."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from bundle.label.refusal import RefusedError
from bundle.label.routes import ROUTES

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_FIRST = {route.path.split("/")[1] for route in ROUTES}
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]


class Guard:
    """ASGI middleware: refuses what comes from web pages of others, and what is too large.

    Every request leaves one line in the log: method, first part of the path, status, time. Names and parameters are
    left out, because they may identify a patient.

    Args:
        app: what is guarded.
        max_bytes: of a request's body.
        origins: of web pages that may call the server, beside those without an origin (3D Slicer); None allows those of
            the host that the request names.
    """

    def __init__(self, app: Any, max_bytes: int, origins: tuple[str, ...] | None = None) -> None:
        self.app, self.max_bytes, self.origins = app, max_bytes, origins

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server is started without websockets and lifespan
            raise RuntimeError(f"{scope['type']} is not offered")
        started, status = time.perf_counter(), 0
        body = _Body(receive, self.max_bytes)

        async def answer(message: Message) -> None:
            nonlocal status
            if body.too_large:  # whatever the application made of half a body
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        refused = self._refusal(Headers(scope=scope))
        if refused is None:
            await self.app(scope, body.receive, answer)
        if body.too_large:
            refused = self._too_large()
        if refused is not None:
            await body.drain()
            status = refused.status
            await JSONResponse({"detail": str(refused)}, status)(scope, receive, send)
        first = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        place = first if first in _FIRST else "?"
        logger.info("%s /%s %d %.0f ms", scope["method"], place, status, 1e3 * (time.perf_counter() - started))

    def _refusal(self, headers: Headers) -> RefusedError | None:
        """Why a request is not let in, from its headers alone."""
        own = self.origins
        if own is None:  # the host's names are not known: a reverse proxy may have given it one
            hosts = {headers.get("host"), headers.get("x-forwarded-host")} - {None}
            own = tuple(f"{scheme}://{host}" for host in hosts for scheme in ("http", "https"))
        foreign = "origin" in headers and headers["origin"] not in own
        if foreign or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return RefusedError(403, "a web page of another origin may not call this server")
        if int(headers.get("content-length", "0") or 0) > self.max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the upload is larger than {self.max_bytes / 1e6:.0f} MB (--max_upload_mb)")


class _Body:
    """A request's body, counted; from the limit on it is thrown away, so that the client can finish and be answered."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit = receive, limit
        self._seen, self._over, self.too_large = 0, False, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._over = message["type"] == "http.disconnect" or not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        self.too_large = self.too_large or self._seen > self._limit
        return {"type": "http.request", "body": b"", "more_body": False} if self.too_large else message

    async def drain(self) -> None:
        """Read on, but no further than four times the limit."""
        while not self._over and self._seen < 4 * self._limit:
            await self.receive()
