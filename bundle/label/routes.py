"""What the server offers: all routes, methods and keys that there are. Everything else is answered 404."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bundle.label import MODEL, NAME
from bundle.label.refusal import RefusedError

Kind = Callable[[str, Any], Any]  # (key, what was given) -> the value; raises RefusedError


def name(key: str, value: Any) -> str:
    """A name that may become part of a path."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise RefusedError(400, f"{key} must be a name as the server gave it: without path, not beginning with a dot")
    return value


def switch(key: str, value: Any) -> bool:
    """True or false, in JSON or in words."""
    said = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if said is None:
        raise RefusedError(400, f"{key} can be true or false")
    return said


def choice(*values: str) -> Kind:
    """One of some words; in JSON null and "" choose none."""

    def chosen(key: str, value: Any) -> str:
        if value not in (*values, "", None):
            raise RefusedError(400, f"{key} can be {', '.join(values)}")
        return value or ""

    return chosen


def number(low: float, high: float, kind: type = int) -> Kind:
    """A number from `low` to `high`, also as text."""

    def numeric(key: str, value: Any) -> Any:
        try:
            found = kind(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high:
            raise RefusedError(400, f"{key} must be a number from {low:g} to {high:g}")
        return found

    return numeric


def client(key: str, value: Any) -> str:
    """What a viewer calls its user; noted beside what was proposed to it."""
    return str(value)[:100]


def checked_later(key: str, value: Any) -> Any:
    """The bundle's own configuration says what it can be."""
    return value


def passed_over(key: str, value: Any) -> None:
    """What viewers send and this server has no use for."""


def upload(key: str, value: Any) -> Any:
    """A file."""
    if not hasattr(value, "filename"):
        raise RefusedError(400, f"{key} must be a file")
    return value


def notes(key: str, value: Any) -> dict[str, Any]:
    """Any JSON object, as text; the datastore looks at it."""
    return _object(key, value)


def options(known: Mapping[str, Kind]) -> Kind:
    """A JSON object, or its text, of these keys alone."""

    def chosen(key: str, value: Any) -> dict[str, Any]:
        given = _object(key, value)
        refuse_unknown(key, given, known)
        taken = {each: known[each](each, what) for each, what in given.items() if known[each] is not passed_over}
        return taken

    return chosen


def refuse_unknown(place: str, given: Mapping[str, Any], known: Mapping[str, Kind]) -> None:
    """Deny what is not in the table.

    Raises:
        RefusedError: a key is not.
    """
    for key in given:
        if key not in known:
            there = f"its keys are {', '.join(known)}" if known else "it has none"
            raise RefusedError(404, f"{place} has no key {key[:40]!r}; {there}")


def _object(key: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value or "{}") if isinstance(value, str | bytes) else value
    except json.JSONDecodeError as error:
        raise RefusedError(400, f"{key} is not JSON: {error.msg} at character {error.pos}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, f"{key} is not JSON that can be read") from error
    if not isinstance(found, dict):
        raise RefusedError(400, f"{key} must be a JSON object, such as {{}}")
    return found


@dataclass(frozen=True)
class Route:
    """One line of the table.

    Attributes:
        method: of HTTP.
        path: `{...}` stands for one part of it, `{rest}` for all that follows.
        answer: the method of `bundle.label.answers.Answers` that answers; what is taken from path and keys are its
            arguments.
        query: keys of the query.
        form: fields of a form.
        json: keys of a JSON object in the body, which the answer gets as `params`.
        any_query: whether the query is not the server's: a page's own, or the archive's.
    """

    method: str
    path: str
    answer: str
    query: Mapping[str, Kind] = field(default_factory=dict)
    form: Mapping[str, Kind] = field(default_factory=dict)
    json: Mapping[str, Kind] | None = None
    any_query: bool = False

    def match(self, path: str) -> dict[str, str] | None:
        """The variable parts of a path that fits, the last slash apart; None if it does not."""
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path.rstrip("/").replace("/{rest}", r"(?:/(?P<rest>.*))?"))
        found = re.fullmatch(pattern + "/?", path)
        return None if found is None else {key: value or "" for key, value in found.groupdict().items()}


INFER = {
    "show": checked_later,
    "finding": checked_later,
    "min_score": checked_later,
    "min_image_score": checked_later,
    "result_extension": choice(".nii.gz", ".nii", ".nrrd", ".mha"),
    "result_compress": switch,
    "result_dtype": passed_over,
    "restore_label_idx": passed_over,
    "device": passed_over,
    "client_id": passed_over,
}
TRAIN = {
    "max_epochs": number(1, 1000),
    "learning_rate": number(1e-9, 1, float),
    "pretrained": switch,
    "client_id": passed_over,
}
IMAGE = {"image": name}
LABEL = {"label": name, "tag": name}
ADD_IMAGE = {"params": notes, "file": upload}

ROUTES = (
    Route("GET", "/info/", "info"),
    Route(
        "POST",
        "/infer/{model}",
        "infer",
        query={"image": name, "session_id": name, "output": choice("all", "image", "json")},
        form={"params": options(INFER), "file": upload},
    ),
    Route("POST", "/activelearning/{strategy}", "next_sample", json={"client_id": client}),
    Route("GET", "/train/", "train_status", query={"check_if_running": switch}),
    Route("POST", "/train/", "train_all", json={MODEL: options(TRAIN), "client_id": passed_over}),
    Route("POST", "/train/{model}", "train", query={"enqueue": switch}, json=TRAIN),
    Route("DELETE", "/train/", "stop_train"),
    Route("PUT", "/session/", "add_session", form={"files": upload, "client_id": passed_over}),
    Route("GET", "/session/{session_id}", "session", query={"image": switch}),
    Route("DELETE", "/session/{session_id}", "remove_session"),
    Route("GET", "/datastore/", "datastore", query={"output": choice("stats", "all")}),
    Route("PUT", "/datastore/", "add_image", query=IMAGE, form=ADD_IMAGE),  # as 3D Slicer calls it
    Route("PUT", "/datastore/image", "add_image", query=IMAGE, form=ADD_IMAGE),
    Route("GET", "/datastore/image", "image", query=IMAGE),
    Route("GET", "/datastore/image/info", "image_info", query=IMAGE),
    Route("PUT", "/datastore/image/info", "set_image_info", query=IMAGE, form={"info": notes}),
    Route(
        "PUT",
        "/datastore/label",
        "add_label",
        query={"image": name, "tag": name},
        form={"params": notes, "label": upload},
    ),
    Route("GET", "/datastore/label", "label", query=LABEL),
    Route("DELETE", "/datastore/label", "remove_label", query={"id": name, "tag": name}),
    Route("GET", "/datastore/label/info", "label_info", query=LABEL),
    Route("PUT", "/datastore/label/info", "set_label_info", query=LABEL, form={"info": notes}),
    Route("GET", "/logs/", "logs", query={"lines": number(1, 10_000), "text": passed_over}),
    Route("GET", "/ohif/{rest}", "ohif", any_query=True),
    Route("GET", "/proxy/dicom/{rest}", "archive", any_query=True),
)
