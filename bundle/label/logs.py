"""Logs that name no patient: MONAI Label's own lines hold file names, requests and DICOM values."""

import logging
from pathlib import Path
from typing import Any

# loggers whose lines are known to name nobody
OWN = ("bundle.label", "uvicorn.error", "bundle.watch")


class WithoutPatients(logging.Filter):
    """Passes our own lines; of all others warnings and errors alone, with their place in place of their text."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written; its text is replaced in place."""
        failed = bool(record.exc_info and record.exc_info[0])
        own = record.name in OWN or record.name.startswith(f"{OWN[0]}.")
        if own and not failed:
            return True
        if record.levelno < logging.WARNING:
            return False
        kind = f", {record.exc_info[0].__name__}" if record.exc_info and record.exc_info[0] else ""
        record.msg = (
            f"{Path(record.pathname).name}:{record.lineno}{kind} (text withheld: it may name a patient; --verbose)"
        )
        record.args, record.exc_info, record.exc_text, record.stack_info = (), None, None, None
        return True


def log_config(file: Path, verbose: bool = False) -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything to the console and to `file`, without patients.

    Args:
        file: grows to 10 MB, then begins anew; two old ones are kept.
        verbose: write all lines as they are, and so whatever identifies patients in them.
    """
    handler = {"formatter": "line", "filters": [] if verbose else ["without_patients"]}
    rotating = {"class": "logging.handlers.RotatingFileHandler", "maxBytes": 10_000_000, "backupCount": 2}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "filters": {"without_patients": {"()": f"{__name__}.{WithoutPatients.__name__}"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", **handler},
            "file": {**rotating, "filename": str(file), "encoding": "utf-8", **handler},
        },
        "root": {"level": "INFO", "handlers": ["console", "file"]},
    }
