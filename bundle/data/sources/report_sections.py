"""A report as MIMIC-CXR has it, a text file with headings: its findings and its impression."""

from __future__ import annotations

import re

__all__ = ["findings_and_impression"]

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
