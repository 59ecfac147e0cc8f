"""A report as MIMIC-CXR has it, a text file with headings: its findings and its impression."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bundle.data.sources.table_file import file_text

__all__ = ["findings_and_impression", "reports_folder", "study_report"]

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ,/&()\-]+):", re.MULTILINE)
_FINDINGS = re.compile(r"FINDINGS?\b")
_IMPRESSION = re.compile(r"IMPRESSIONS?\b|CONCLUSIONS?\b")
_FINAL = re.compile(r"^[ \t]*FINAL (?:REPORT|ADDENDUM)[ \t]*$", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


def findings_and_impression(text: str) -> str:
    """The sections that say what was seen, as "Findings: ... Impression: ...".

    Headings stand in capitals at the start of a line, with a colon. A report without a heading of either keeps its last
    paragraphs behind the last heading's own, or all of its text where it has no heading.

    Args:
        text: of the file.

    Returns:
        One line; empty where the file says nothing.
    """
    if final := _FINAL.search(text):
        text = text[final.end() :]
    headings = list(_HEADING.finditer(text))
    if not headings:
        return " ".join(text.split())
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    sections = [(heading[1].strip(), text[heading.end() : end]) for heading, end in zip(headings, ends, strict=True)]
    said = []
    for title, wanted in (("Findings", _FINDINGS), ("Impression", _IMPRESSION)):
        words = " ".join(" ".join(body for name, body in sections if wanted.match(name)).split())
        if words:
            said.append(f"{title}: {words}")
    if said:
        return " ".join(said)
    _, *more = _BLANK_LINE.split(sections[-1][1].strip(), maxsplit=1)
    return " ".join(more[0].split()) if more else ""


def reports_folder(place: str | os.PathLike[str]) -> Path:
    """The folder of p10 .. p19, in which MIMIC-CXR's reports lie.

    Args:
        place: that folder, or the one that holds it as `files`.

    Raises:
        FileNotFoundError: it is neither.
    """
    for folder in (Path(place), Path(place) / "files"):
        if any(folder.glob("p1[0-9]")):
            return folder
    raise FileNotFoundError(f"{place}: found no p10 .. p19; wanted the folder of MIMIC-CXR's unpacked reports")


def study_report(folder: Path, study: str) -> str:
    """Findings and impression of a study's report; empty where it has none.

    Args:
        folder: of p10 .. p19.
        study: such as p10/p10000032/s50414267.
    """
    file = folder / f"{study}.txt"
    return findings_and_impression(file_text(file)[0]) if file.is_file() else ""
