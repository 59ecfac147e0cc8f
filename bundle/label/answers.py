"""What the server answers, one method for each line in the table of routes."""

import json
import stat
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.sessions import SessionInfo
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from bundle.label import MODEL
from bundle.label.app import RadiographApp
from bundle.label.pages import page_policy
from bundle.label.refusal import RefusedError

BYTES = "application/octet-stream"


class Answers:
    """Each method's arguments are what its route takes from path, query and body.

    Args:
        app: the application.
        log: the server's log.
        pages: the folder of OHIF's pages.
        cut: takes paths out of text that is answered.
    """

    def __init__(self, app: RadiographApp, log: Path, pages: Path, cut: Callable[[Any], Any]) -> None:
        self._app, self._log, self._cut = app, log, cut
        self._pages = StaticFiles(directory=pages)
        self._policy = {"Content-Security-Policy": page_policy(pages / "index.html")}

    def info(self) -> dict[str, Any]:
        """Models, strategies, settings, figures of the last training, counts of radiographs."""
        return self._app.info()

    def infer(
        self,
        model: str,
        image: str = "",
        session_id: str = "",
        output: str = "all",
        params: dict[str, Any] | None = None,
        file: Path | None = None,
    ) -> Response | dict[str, Any]:
        """Look at a radiograph of a session, an upload, or the studies; mask or map, and what was found."""
        _check_model(model)
        if session_id:
            source = self._session(session_id).image
        elif file is not None or image:
            source = str(file) if file is not None else self._app.radiograph(image)
        else:
            raise RefusedError(400, "nothing to look at: give image=NAME, or a file as form field file")
        with TemporaryDirectory() as folder:
            result, found = self._app.look(source, folder, params or {})
            content = result.read_bytes()
        found = self._cut(found)
        if output == "json":
            return found
        if output == "image":
            return Response(content, media_type=BYTES, headers=_attachment(result.name))
        said, mask = RequestField("params", json.dumps(found)), RequestField("image", content, result.name)
        said.make_multipart(content_type="application/json")
        mask.make_multipart(content_type=BYTES)
        message, kind = encode_multipart_formdata([said, mask])
        return Response(message, media_type=kind)

    def next_sample(self, strategy: str, params: dict[str, Any]) -> dict[str, Any]:
        """The radiograph that a strategy proposes, and what is noted about it."""
        proposed = self._app.next_sample({"strategy": strategy})
        if not proposed:
            return {}
        store = self._app.datastore()
        notes = store.get_image_info(proposed["id"])
        when = {"ts": int(time.time()), "client_id": params.get("client_id")}
        store.update_image_info(proposed["id"], {"strategy": {**notes.get("strategy", {}), strategy: when}})
        return {**notes, **proposed}

    def train(self, model: str, params: dict[str, Any], enqueue: bool = False) -> dict[str, Any]:
        """Begin a training, in a process of its own."""
        _check_model(model)
        task, reason = AsyncTask.run("train", request={"model": MODEL, **params}, enqueue=enqueue)
        if task is None:
            raise RefusedError(429, reason)
        return _progress(task)

    def train_all(self, params: dict[str, Any]) -> dict[str, Any]:
        """The same of the one model, as OHIF asks for it; waits for its turn."""
        return {MODEL: {"result": self.train(MODEL, params.get(MODEL, {}), enqueue=True), "detail": None}}

    def train_status(self, check_if_running: bool = False) -> dict[str, Any]:
        """How the last training goes, or went."""
        task, reason = AsyncTask.status("train", False, check_if_running)
        if task is None:
            raise RefusedError(404, reason)
        return _progress(task[0] if isinstance(task, list) else task)

    def stop_train(self) -> dict[str, Any] | None:
        """End the training that runs, if one does."""
        task = AsyncTask.stop("train")
        return None if task is None else _progress(task)

    def add_session(self, files: Path) -> dict[str, Any]:
        """Keep a radiograph for an hour of requests."""
        session_id, session = self._app.sessions().add_session(str(files))
        return {"session_id": session_id, "session_info": _told(session)}

    def session(self, session_id: str, image: bool = False) -> Response | dict[str, Any]:
        """Whether it is still there; its radiograph."""
        session = self._session(session_id)
        return _file(session.image) if image else _told(session)

    def remove_session(self, session_id: str) -> dict[str, Any]:
        """Delete it."""
        session = self._session(session_id)
        self._app.sessions().remove_session(session_id)
        return _told(session)

    def datastore(self, output: str = "stats") -> dict[str, Any]:
        """Counts, or the names of all radiographs and the notes about them."""
        store = self._app.datastore()
        found: dict[str, Any] = store.json() if output == "all" else store.status()
        return found

    def add_image(self, image: str, file: Path, params: dict[str, Any] | None = None) -> dict[str, str]:
        """Keep a radiograph for good."""
        return {"image": self._app.datastore().add_image(image, str(file), params or {})}

    def image(self, image: str) -> Response:
        """A radiograph's file."""
        return _file(self._app.radiograph(image))

    def image_info(self, image: str) -> dict[str, Any]:
        """The notes about a radiograph."""
        notes: dict[str, Any] = self._app.datastore().get_image_info(image)
        return notes

    def set_image_info(self, image: str, info: dict[str, Any] | None = None) -> None:
        """Add to the notes about a radiograph."""
        self._app.datastore().update_image_info(image, info or {})

    def add_label(
        self, image: str, label: Path, tag: str = "final", params: dict[str, Any] | None = None
    ) -> dict[str, str]:
        """Keep what was drawn."""
        return {"image": image, "label": self._app.datastore().save_label(image, str(label), tag, params or {})}

    def label(self, label: str, tag: str) -> Response:
        """The mask's file."""
        return _file(self._app.datastore().get_label_uri(label, tag))

    def remove_label(self, id: str, tag: str) -> dict[str, Any]:
        """Delete what was drawn."""
        self._app.datastore().remove_label(id, tag)
        return {}

    def label_info(self, label: str, tag: str) -> dict[str, Any]:
        """The notes about what was drawn."""
        notes: dict[str, Any] = self._app.datastore().get_label_info(label, tag)
        return notes

    def set_label_info(self, label: str, tag: str, info: dict[str, Any] | None = None) -> None:
        """Add to the notes about what was drawn."""
        self._app.datastore().update_label_info(label, tag, info or {})

    def logs(self, lines: int = 300) -> Response:
        """The end of the log."""
        with self._log.open(encoding="utf-8") as file:
            return PlainTextResponse(self._cut("".join(deque(file, lines))))

    def ohif(self, rest: str, query: str) -> Response:
        """OHIF's files; every other address below is one of its pages, which are all made from one file."""
        file, status = self._pages.lookup_path(rest)
        if status is None or not stat.S_ISREG(status.st_mode):
            file, _ = self._pages.lookup_path("index.html")
        return FileResponse(file, headers=self._policy)

    def archive(self, rest: str, query: str) -> Response:
        """What the archive says, never as a page of this server."""
        if self._app.archive is None:
            raise RefusedError(404, "the studies are a folder; only a DICOMweb archive is led on to")
        status, kind, content = self._app.archive.get(rest, query)
        return Response(content, status, {"Content-Security-Policy": "sandbox"}, media_type=kind or BYTES)

    def _session(self, session_id: str) -> SessionInfo:
        session = self._app.sessions().get_session(session_id)
        if not session:
            raise RefusedError(404, "there is no such session, or no more")
        return session


def _check_model(model: str) -> None:
    if model != MODEL:
        raise RefusedError(404, f"there is no model of this name; there is {MODEL}")


def _progress(task: dict[str, Any]) -> dict[str, Any]:
    """Of a training."""
    known = {key: task[key] for key in ("id", "status", "start_ts", "end_ts") if key in task}
    return known | {"details": list(task.get("details", ()))}


def _told(session: SessionInfo) -> dict[str, Any]:
    """Of a session, all but where it lies."""
    return {"name": session.name, "expiry": session.expiry, "last_access_ts": session.last_access_ts}


def _file(path: str) -> Response:
    if not Path(path).is_file():
        raise RefusedError(404, "there is no file of this name")
    return FileResponse(path, media_type=BYTES, filename=Path(path).name)


def _attachment(file: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{file}"'}
