"""What stands before MONAI Label: which requests it gets to see, and what becomes of those that fail."""

import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from bundle.label import NAME
from bundle.label.refusal import RefusedError
from bundle.label.temporary import folders_removed
from bundle.reading.radiograph import RadiographError, RadiographNotFoundError
from bundle.results.viewer_result import RequestError

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What viewers need. Left out: replacing and deleting weights, deleting radiographs, whole archives, commands of the
# graphics card, whole-slide and batch inference.
OFFERED = {
    "": ("GET", "HEAD"),
    "docs": ("GET",),
    "openapi.json": ("GET",),
    "favicon.ico": ("GET",),
    "static": ("GET",),
    "ohif": ("GET", "HEAD"),
    "proxy": ("GET", "POST", "HEAD"),
    "info": ("GET",),
    "infer": ("POST",),
    "activelearning": ("POST",),
    "train": ("GET", "POST", "DELETE"),
    "scoring": ("GET",),
    "session": ("GET", "PUT", "DELETE"),
    "logs": ("GET",),
    "datastore": ("GET",),
    "datastore/image": ("GET", "HEAD", "PUT"),
    "datastore/image/info": ("GET", "PUT"),
    "datastore/label": ("GET", "HEAD", "PUT", "DELETE"),
    "datastore/label/info": ("GET", "PUT"),
}
# query parameters that become part of a path
NAMES = ("image", "label", "id", "tag", "session_id")
# switches that stay off, and why
REFUSED = {
    "uncompress": "this server does not unpack archives; upload the image itself",
    "run_sync": "a training runs in a process of its own; leave out run_sync, and ask GET /train/ how it goes",
}
_OURS = {"monailabel", "bundle"}


class Guard:
    """ASGI middleware: refuses what is not offered, what leads out of its folder, and what is too large.

    Every request leaves one line in the log: method, first part of the path, status, time. Names and parameters are
    left out, because they may identify a patient.

    Args:
        app: what is guarded.
        max_bytes: of a request's body.
        origins: of web pages that may call the server, beside those without an origin (3D Slicer); None allows all.
        model: the one that there is.
        archive: whether the studies are an archive, to which web pages are led on.
    """

    def __init__(
        self, app: Any, max_bytes: int, origins: tuple[str, ...] | None = None, model: str = "", archive: bool = True
    ) -> None:
        self.app, self.max_bytes, self.origins = app, max_bytes, origins
        self.model, self.archive = model, archive

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        body = _Body(receive, self.max_bytes)

        async def answer(message: Message) -> None:
            nonlocal status
            if body.too_large:  # whatever the application made of half a body
                return
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refused = self._refusal(scope)
        if refused is None:
            with folders_removed():
                await self.app(scope, body.receive, answer)
        if body.too_large:
            refused = RefusedError(413, f"the upload is larger than {self.max_bytes / 1e6:.0f} MB (--max_upload_mb)")
        if refused is not None:
            await body.drain()
            status = refused.status
            await JSONResponse({"detail": str(refused)}, status)(scope, receive, send)
        first = scope["path"].strip("/").split("/")[0]
        place = first if first in OFFERED else "?"
        logger.info("%s /%s %d %.0f ms", scope["method"], place, status, 1e3 * (time.perf_counter() - started))

    def _refusal(self, scope: Message) -> RefusedError | None:
        """Why a request is not let in, from its first lines alone."""
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if self.origins is not None and headers.get("origin", self.origins[0]) not in self.origins:
            return RefusedError(403, "a web page of another origin may not call this server")
        if int(headers.get("content-length", "0") or 0) > self.max_bytes:
            return RefusedError(413, f"the upload is larger than {self.max_bytes / 1e6:.0f} MB (--max_upload_mb)")
        parts = scope["path"].strip("/").split("/")
        if any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
            return RefusedError(400, "the path leads out of its folder")
        exact = "/".join(parts)
        methods = OFFERED.get(exact) if parts[0] == "datastore" else OFFERED.get(parts[0])
        if methods is None or scope["method"] not in methods or exact == "logs/gpu":
            return RefusedError(403, "this server does not offer that")
        if parts[0] == "proxy" and not self.archive:
            return RefusedError(404, "the studies are a folder; only a DICOMweb archive is led on to")
        if parts[0] in ("infer", "train") and len(parts) > 1 and parts[1] != self.model:
            return RefusedError(404, f"there is no model of this name; there is {self.model}")
        for key, value in parse_qsl(scope["query_string"].decode("latin-1")):
            if key in NAMES and not NAME.fullmatch(value):
                return RefusedError(
                    400, f"{key} must be a name as the server gave it: without path, not beginning with a dot"
                )
            if key in REFUSED and value.lower() not in ("false", "0"):
                return RefusedError(403, REFUSED[key])
            if key == "output" and value == "dicom_seg":
                return RefusedError(
                    400, "output can be image, json or all: DICOM SEG wants a geometry that CR and DX lack"
                )
        return None


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


def add_error_answers(app: FastAPI) -> None:
    """Answer with a status and a reason where MONAI Label would answer 500 with none."""

    async def unreadable(request: Request, error: RadiographError) -> JSONResponse:
        status = 404 if isinstance(error, RadiographNotFoundError) else 422
        return JSONResponse({"detail": f"not a radiograph: {error.found}. {error.remedy}"}, status)

    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, error.status)

    async def misasked(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    async def not_json(request: Request, error: json.JSONDecodeError) -> JSONResponse:
        return JSONResponse({"detail": f"params is not JSON: {error.msg} at character {error.pos}"}, 400)

    async def stated(request: Request, error: HTTPException) -> Response:
        if error.status_code == 500:  # MONAI Label's for a request that names no radiograph
            return JSONResponse({"detail": "nothing to look at: give image=NAME, or a file as form field file"}, 400)
        return await http_exception_handler(request, error)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if _OURS.intersection(Path(f.filename).parts)), frames[-1])
        if Path(place.filename).parent.name == "endpoints":  # MONAI Label was still taking the request apart
            return JSONResponse({"detail": "the request is malformed: file names or params cannot be taken apart"}, 400)
        where = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        logger.error("A request failed: %s", where)
        return JSONResponse({"detail": f"the server failed ({where}); this is its fault, not the request's"}, 500)

    app.add_exception_handler(RadiographError, unreadable)  # type: ignore[arg-type]
    app.add_exception_handler(RefusedError, refused)  # type: ignore[arg-type]
    app.add_exception_handler(RequestError, misasked)
    app.add_exception_handler(HTTPException, stated)  # type: ignore[arg-type]
    app.add_exception_handler(json.JSONDecodeError, not_json)  # type: ignore[arg-type]
    # by name, because after its handler for Exception the framework raises the exception once more
    for kind in (ValueError, TypeError, OSError, Exception):
        app.add_exception_handler(kind, failed)


async def not_found(request: Request, error: Exception) -> JSONResponse:
    """For MONAI Label's own exceptions, which it raises for names that it does not know."""
    return JSONResponse({"detail": f"not known here: {getattr(error, 'msg', error)}"}, 404)


async def archive_silent(request: Request, error: Exception) -> JSONResponse:
    """For a DICOMweb archive that cannot be reached, or that fails."""
    return JSONResponse({"detail": "the archive does not answer as it should; is it running?"}, 502)
