"""Reports as token ids, cut by whole sentences."""

import re
from collections.abc import Callable, Sequence

_SECTION = re.compile(r"\b(findings|impression|conclusion)\s*:", re.IGNORECASE)
_OTHER_SECTION = re.compile(
    r"\b(indication|history|clinical (?:history|information)|technique|comparison|examination|exam)\s*:", re.IGNORECASE
)
# a full stop, question or exclamation mark ends a sentence if blank space and a capital or digit follow; not "2.1 cm"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


def sentences_by_worth(report: str) -> list[str]:
    """The report's sentences, those of Findings first, then Impression (Conclusion), then text without a heading.

    Indication, technique and comparison say what was asked and how, not what was seen: they come last. A report
    without headings keeps its order.
    """
    headings = sorted(
        [(m.start(), m.end(), m.group(1).lower()) for m in _SECTION.finditer(report)]
        + [(m.start(), m.end(), "other") for m in _OTHER_SECTION.finditer(report)]
    )
    parts = [("", report[: headings[0][0]] if headings else report)]
    ends = [start for start, _, _ in headings[1:]] + [len(report)]
    parts += [(name, report[begin:end]) for (_, begin, name), end in zip(headings, ends, strict=False)]
    worth = {"findings": 0, "impression": 1, "conclusion": 1, "": 2, "other": 3}
    parts.sort(key=lambda part: worth[part[0]])
    return [s for _, text in parts for s in _SENTENCE_END.split(" ".join(text.split())) if s]


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
