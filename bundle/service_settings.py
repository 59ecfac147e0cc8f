"""One TOML file for the services: what it gives stands where a command line gives nothing (docs/deployment.md)."""

import difflib
import math
import netrc
import os
import re
import stat
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CONFIG = "--config"


class ServiceSettingsError(ValueError):
    """The file of settings can't be used; the message names every fault."""


def settings_of(service: str, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What the file behind `--config` gives a service.

    The whole file is checked, the other service's section too, and nothing of it is used where it has a fault. Values
    are not repeated in messages: one may be a secret that stands where it must not. A key `netrc` names a file of
    passwords for DICOMweb servers; it goes into the environment as NETRC, where `requests` looks.

    Args:
        service: a key of `SERVICES`, which is its section of the file.
        arguments: of the command line. The last `--config FILE` or `--config=FILE` counts; without one nothing is read.

    Returns:
        (option -> value, the other arguments in their order).

    Raises:
        ServiceSettingsError: the file can't be read or has faults, or `--config` names none.
    """
    file, others = None, []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == CONFIG or argument.startswith(f"{CONFIG}="):
            file = argument.removeprefix(f"{CONFIG}=") if "=" in argument else next(waiting, "")
            if not file or file.startswith("--"):
                raise ServiceSettingsError(f"{CONFIG}: found no file; wanted a TOML file with a section [{service}]")
        else:
            others.append(argument)
    if file is None:
        return {}, others
    settings = read_settings(Path(file), service).get(service)
    if settings is None:
        raise ServiceSettingsError(f"{file}: there is no section [{service}], which this service reads")
    if "netrc" in settings:
        os.environ["NETRC"] = settings.pop("netrc")
    return settings, others


def read_settings(file: Path, service: str) -> dict[str, dict[str, Any]]:
    """All sections of a file, checked; of files that it names, those of one service, for the other may be elsewhere.

    Raises:
        ServiceSettingsError: it can't be read, is no TOML, or has unknown sections or keys or values of a wrong kind,
            all of which the message names.
    """
    try:
        with file.open("rb") as opened:
            content = tomllib.load(opened)
    except OSError as error:
        raise ServiceSettingsError(f"{file}: {error.strerror}; {CONFIG} wants a TOML file") from error
    except UnicodeDecodeError as error:
        raise ServiceSettingsError(f"{file}: byte {error.start} is not UTF-8, as TOML is") from error
    except tomllib.TOMLDecodeError as error:
        raise ServiceSettingsError(f"{file}: no TOML: {error}") from error
    faults = []
    for section, values in content.items():
        if section not in SERVICES or not isinstance(values, dict):
            faults.append(f"[{section}]: no such section{_meant(section, SERVICES)}")
            continue
        for key, value in values.items():
            wanted = SERVICES[section].get(key)
            if wanted is None:
                fault: str | None = f"no such key{_meant(key, SERVICES[section])}"
            else:
                fault = wanted(value) or (_secret(value) if key == "netrc" and section == service else None)
            if fault:
                faults.append(f"[{section}] {key}: {fault}")
    if faults:
        raise ServiceSettingsError("\n  ".join([f"{file}: {len(faults)} to mend", *faults]))
    return content


def _meant(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _found(value: Any, wanted: str) -> str:
    shown = f" {value}" if isinstance(value, bool | int | float) else ""
    return f"found {type(value).__name__}{shown}; wanted {wanted}"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else _found(value, "text that is not empty")


def _address(value: Any) -> str | None:
    """Text; a password in the address of a server would stand in the file for all who read it."""
    if isinstance(value, str) and re.match(r"https?://[^/?#]*@", value, re.IGNORECASE):
        return "found a user or password in the address; put them into the file that the key netrc names"
    return _text(value)


def _texts(value: Any) -> str | None:
    good = isinstance(value, list) and all(isinstance(each, str) and each for each in value)
    return None if good else _found(value, 'a list of texts, such as ["AET", "AET"]')


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else _found(value, "true or false")


def _count(value: Any) -> str | None:
    return None if type(value) is int and value > 0 else _found(value, "a whole number of at least 1")


def _port(value: Any) -> str | None:
    return None if type(value) is int and 0 < value < 65536 else _found(value, "a whole number of 1 to 65535")


def _amount(value: Any) -> str | None:
    good = type(value) in (int, float) and math.isfinite(value) and value >= 0
    return None if good else _found(value, "a number of at least 0")


def _secret(value: str) -> str | None:
    """A netrc file for its owner alone; what stands in it is not repeated."""
    try:
        mode = Path(value).stat().st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            return f"found mode {mode & 0o7777:04o}; wanted a file for its owner alone: chmod 600"
        netrc.netrc(value)
    except OSError as error:
        return f"{error.strerror}; wanted the path of a netrc file that the service can read"
    except (netrc.NetrcParseError, UnicodeDecodeError) as error:
        where = f", line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
        return f"found no netrc{where}; wanted lines like: machine HOST login USER password WORD"
    return None


# options of the command lines (a test compares them), and netrc
SERVICES: dict[str, dict[str, Callable[[Any], str | None]]] = {
    "node": {
        **dict.fromkeys(("bundle", "queue", "host", "ae_title", "netrc"), _text),
        **dict.fromkeys(("port", "monitor_port"), _port),
        **dict.fromkeys(("capacity", "tries"), _count),
        **dict.fromkeys(("queue_gb", "free_gb"), _amount),
        **{"send_to": _address, "allowed": _texts},
    },
    "label": {
        **dict.fromkeys(("model", "work", "host", "modalities", "netrc"), _text),
        **{"studies": _address, "port": _port, "max_upload_mb": _amount, "verbose": _switch},
    },
}
