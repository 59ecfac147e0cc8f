"""Takes requests apart by the table of routes, has them answered in threads, and says what failed."""

import errno
import logging
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import anyio.to_thread
from monailabel.interfaces.exception import MONAILabelException
from requests import RequestException
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from bundle.label.paths import upload_suffix
from bundle.label.refusal import ArchiveError, RefusedError
from bundle.label.routes import ROUTES, Route, name, options, refuse_unknown
from bundle.reading.radiograph import RadiographError, RadiographNotFoundError
from bundle.results.viewer_result import RequestError

logger = logging.getLogger(__name__)

MAX_JSON = 1_000_000  # bytes of a body that is JSON
_OURS = {"monailabel", "bundle"}


class Offered:
    """ASGI application of the routes in the table, and of no others.

    Whatever answers runs in a thread, so that one request that waits, for an archive say, stops no other and no signal.
    Uploads lie in a folder of the request, under names of ours, and go when it is answered.

    Args:
        answers: has a method for each route.
        cut: takes paths out of what is answered.
    """

    def __init__(self, answers: Any, cut: Callable[[Any], Any]) -> None:
        self._methods = {route.answer: getattr(answers, route.answer) for route in ROUTES}
        self._cut = cut

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:
            status, reason = failure(error)
            answer = JSONResponse({"detail": self._cut(reason)}, status)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        route, given = _route(request)
        if not route.any_query:
            given |= _taken("the query", request.query_params.multi_items(), route.query)
        if route.json is not None:
            body = await _small_body(request)
            given["params"] = options(route.json)("the body", body)
        answer = partial(self._run, self._methods[route.answer], request.url.query if route.any_query else None)
        if not route.form:
            return await anyio.to_thread.run_sync(answer, given, abandon_on_cancel=True)
        async with request.form(max_files=len(route.form), max_fields=len(route.form)) as form:
            given |= _taken("the form", form.multi_items(), route.form)
            return await anyio.to_thread.run_sync(answer, given, abandon_on_cancel=True)

    def _run(self, method: Callable[..., Any], query: str | None, given: dict[str, Any]) -> Response:
        """In a thread: the answer, in JSON if it is not a response yet."""
        if query is not None:
            given["query"] = query
        try:
            signature(method).bind(**given)
        except TypeError as error:
            raise RefusedError(400, str(error)) from error
        with tempfile.TemporaryDirectory() as folder:
            for key, value in given.items():
                if isinstance(value, UploadFile):
                    given[key] = Path(folder) / f"{key}{upload_suffix(value.filename or '')}"
                    with given[key].open("wb") as file:
                        shutil.copyfileobj(value.file, file)
            found = method(**given)
        return found if isinstance(found, Response) else JSONResponse(self._cut(found))


def _route(request: Request) -> tuple[Route, dict[str, Any]]:
    """The line of the table, and the variable parts of the path."""
    path = request.scope["path"]
    if any(part in (".", "..") for part in path.split("/")) or set("\\%\0").intersection(path):
        raise RefusedError(400, "the path leads out of its folder")
    for route in ROUTES:
        parts = route.match(path) if route.method == request.method else None
        if parts is not None:
            return route, {key: value if key == "rest" else name(key, value) for key, value in parts.items()}
    raise RefusedError(404, "this server does not offer that")


def _taken(place: str, items: list[tuple[str, Any]], known: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values, each once, as the table takes them; without a value a key is as good as not given."""
    given = dict(items)
    refuse_unknown(place, given, known)
    if len(items) > len(given):
        raise RefusedError(422, f"{place} gives a key twice; wanted one radiograph, in one file, and each key once")
    taken = {key: known[key](key, value) for key, value in given.items() if value != ""}
    return {key: value for key, value in taken.items() if value is not None}


async def _small_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_JSON:
            raise RefusedError(413, f"the body is larger than {MAX_JSON / 1e6:.0f} MB of JSON")
    return body


def failure(error: Exception) -> tuple[int, str]:
    """Status and reason of what went wrong; the reason names no patient."""
    status, reason = 500, str(error)
    match error:
        case RefusedError():
            status = error.status
        case RadiographError():
            status = 404 if isinstance(error, RadiographNotFoundError) else 422
            reason = f"not a radiograph: {error.found}. {error.remedy}"
        case RequestError():
            status = 400
        case MultiPartException():
            status, reason = 400, f"the form cannot be taken apart: {error.message}"
        case ArchiveError():
            status, reason = 502, f"the archive does not answer as it should: {error}"
        case RequestException():  # the archive's own refusal; its text may name a patient
            status, reason = 502, "the archive does not answer as it should: it refuses"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            status, reason = 507, "the server's disk is full: make room where its --work lies, and send this again"
        case MONAILabelException():  # for names that it does not know
            status, reason = 404, f"not known here: {getattr(error, 'msg', error)}"
        case _:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((f for f in reversed(frames) if _OURS.intersection(Path(f.filename).parts)), frames[-1])
            where = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
            logger.error("A request failed: %s", where)
            reason = f"the server failed ({where}); this is its fault, not the request's"
    return status, reason
