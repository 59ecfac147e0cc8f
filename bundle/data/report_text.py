"""Reports as token ids, cut by whole sentences."""

import re
from collections.abc import Callable, Iterator, Sequence

# what was seen, what it means, text under no heading, what was asked and how it was looked at
_FINDINGS, _IMPRESSION, _BARE, _ASKED, _HOW = range(5)
_HEADINGS = {
    _FINDINGS: r"findings?",
    _IMPRESSION: r"(?:impressions?|conclusions?|opinion|interpretation)(?: (?:and|&) recommendations?)?",
    _ASKED: r"(?:clinical )?(?:indications?|history)|clinical information|reason for (?:exam(?:ination)?|study)",
    _HOW: r"(?:technique|comparison)(?: (?:and|&) (?:technique|comparison))?|comparisons|exam(?:ination)?|procedure",
}
_NAMES = "|".join(f"(?P<kind{kind}>{names})" for kind, names in _HEADINGS.items())
# followed by a colon, or alone in its line
_HEADING = re.compile(
    rf"\b(?:{_NAMES})\s*:|^[ \t]*(?:{_NAMES.replace('kind', 'line')})[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_BLANK_LINE = re.compile(r"\n\s*\n")
# a full stop, question or exclamation mark ends a sentence if blank space and a capital or digit follow; not "2.1 cm"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
# where a section's own words end if the body follows without a blank line: a history may have several sentences
_OWN_WORDS_END = {
    _ASKED: re.compile(r"(?<=[.!?])[ \t]*\n\s*(?=[A-Z0-9])"),
    _HOW: re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n\s*(?=[A-Z])"),
}


def sentences_by_worth(report: str) -> list[str]:
    """The report's sentences, those of Findings first, then Impression (Conclusion), then text without a heading.

    Indication, technique and comparison say what was asked and how, not what was seen: they come last. Their own words
    are their first paragraph. Further ones have no heading: after the last of these sections they are the findings of a
    report that has none under a heading. A report without headings keeps its order.
    """
    parts = sorted(_parts(report.replace("\r\n", "\n")), key=lambda part: min(part[0], _ASKED))
    return [s for _, text in parts for s in _SENTENCE_END.split(" ".join(text.split())) if s]


def _parts(report: str) -> Iterator[tuple[int, str]]:
    """The report's parts in their order, each with its kind."""
    headings = list(_HEADING.finditer(report))
    kinds = [int((match.lastgroup or "")[-1]) for match in headings]
    begins, ends = [match.end() for match in headings], [*(match.start() for match in headings), len(report)]
    yield _BARE, report[: ends[0]]
    texts = [report[begin:end] for begin, end in zip(begins, ends[1:], strict=True)]
    headless = not any(kind == _FINDINGS and text.strip() for kind, text in zip(kinds, texts, strict=True))
    last = max((place for place, kind in enumerate(kinds) if kind in _OWN_WORDS_END), default=-1)
    for place, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        if kind in _OWN_WORDS_END:
            yield from _own_words_and_body(kind, text, has_body=headless and place == last)
        else:
            yield kind, text


def _own_words_and_body(kind: int, text: str, has_body: bool) -> Iterator[tuple[int, str]]:
    """What a section on the question or the technique says itself, and what only follows it."""
    first, *others = _BLANK_LINE.split(text)
    others = [paragraph for paragraph in others if paragraph.strip()]
    if not first.strip() and others:  # the heading stands alone
        first, *others = others
        if has_body and not others and kind == _HOW:
            yield _BARE, first
            return
    own, *more = _OWN_WORDS_END[kind].split(first.strip(), maxsplit=1) if has_body and not others else [first]
    yield kind, own
    yield from ((_BARE, text) for text in more)
    yield from ((_FINDINGS if has_body else _BARE, paragraph) for paragraph in others)


def cut_report(report: str, length: Callable[[str], int], limit: int) -> str:
    """As many whole sentences, in order of worth, as fit into `limit` tokens.

    Args:
        report: the text.
        length: counts the tokens of a text, start and end markers included.
        limit: the context length.

    Returns:
        Text of at most `limit` tokens. A first sentence that is too long by itself is returned whole: the tokenizer
        truncates it, since half a sentence says more than none.
    """
    kept: list[str] = []
    for sentence in sentences_by_worth(report):
        if length(" ".join([*kept, sentence])) > limit:
            if kept:
                break
            return sentence
        kept.append(sentence)
    return " ".join(kept)


def tokenize_reports(reports: Sequence[str], tokenizer: Callable, limit: int) -> dict:
    """Reports -> `input_ids` and `attention_mask`, each a tensor (N, limit)."""
    texts = [cut_report(r, lambda t: len(tokenizer(t)["input_ids"]), limit) for r in reports]
    return tokenizer(texts, padding="max_length", truncation=True, max_length=limit, return_tensors="pt")
