"""Reports, summaries and box captions of the simulated radiographs, in varied radiological language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bundle.data.demo.findings import FINDINGS
from bundle.data.demo.phrases import (
    ABSENT,
    ABSENT_PAIRS,
    BACKGROUND,
    CAPTIONS,
    DENSITY,
    FINDING_SENTENCES,
    IMPRESSIONS,
    NORMAL_FINDINGS,
    NORMAL_IMPRESSIONS,
    OPENINGS,
)

_SUBTLE_BELOW, _MARKED_ABOVE = 2.5, 5.0
_SUMMARY_WORDS = (10, 15)


@dataclass(frozen=True)
class Observation:
    """What the report says about one inserted lesion.

    Attributes:
        finding: one of the eight.
        side: left, right or midline.
        bilateral: the finding is in both lungs.
        zone: upper, middle or lower third of the lungs.
        lobe: name of the lobe, empty where none applies.
        size_mm: diameter or width, 0 where none applies.
        kind: variant of the lesion.
        cnr: contrast-to-noise ratio.
    """

    finding: str
    side: str
    bilateral: bool
    zone: str
    lobe: str
    size_mm: float
    kind: str
    cnr: float

    @property
    def density(self) -> str:
        """Subtle below a ratio of 2.5, marked above 5, else moderate."""
        return "subtle" if self.cnr < _SUBTLE_BELOW else "marked" if self.cnr > _MARKED_ABOVE else "moderate"

    def attributes(self) -> dict[str, Any]:
        """What the datalist says of the box; `size_mm` only where it means something."""
        out: dict[str, Any] = {
            "side": "bilateral" if self.bilateral else self.side,
            "zone": self.zone,
            "density": self.density,
            "cnr": self.cnr,
        }
        if self.size_mm:
            out["size_mm"] = round(self.size_mm, 1)
        return out


@dataclass(frozen=True)
class ReportText:
    """The words for one radiograph: report, summary of 10 to 15 words, one caption per observation."""

    report: str
    summary: str
    captions: list[str]


def write_report(rng: np.random.Generator, observations: Sequence[Observation]) -> ReportText:
    """Write the report of a radiograph.

    Args:
        rng: chooses among phrasings.
        observations: one per lesion; both halves of a bilateral finding are told in one sentence.

    Returns:
        The texts. The report reads "Findings: ... Impression: ..." and has 2 to 7 sentences.
    """
    fields = [_fields(rng, o) for o in observations]
    captions = [CAPTIONS[o.finding].format_map(f) for o, f in zip(observations, fields, strict=True)]
    told = _once_each(observations, fields)
    positive = [_sentence(_pick(rng, FINDING_SENTENCES[o.finding]), f) for o, f in told]
    present = {o.finding for o in observations}
    absent = [name for name in FINDINGS if name not in present]
    if not present:
        positive.append(_pick(rng, NORMAL_FINDINGS))
    # Every finding is told, however many; negatives and background take what room is left of seven sentences.
    rest = _negatives(rng, absent)[:2]
    if len(positive) + len(rest) < 4 and rng.random() < 0.6:
        rest.append(_pick(rng, BACKGROUND))
    sentences = positive + rest[: max(6 - len(positive), 0)]
    opening = _pick(rng, OPENINGS)
    if opening and len(sentences) < 5:
        sentences.insert(0, opening)
    impression = _impression(rng, told)
    return ReportText(
        report=f"Findings: {' '.join(sentences)} Impression: {impression}",
        summary=_summary(rng, told, absent),
        captions=captions,
    )


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(template: str, fields: Mapping[str, str]) -> str:
    text = _capital(template.format_map(fields))
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}").replace(f"A {vowel}", f"An {vowel}")
    return text


def _fields(rng: np.random.Generator, o: Observation) -> dict[str, str]:
    zone = f"{o.side} {'mid' if o.zone == 'middle' else o.zone} zone"
    place = o.lobe if o.lobe and rng.random() < 0.5 else zone
    words = {
        "density": _pick(rng, DENSITY[o.density]),
        "side": o.side,
        "zone": "mid" if o.zone == "middle" else o.zone,
        "place": place,
        "haze_place": f"both {o.zone if o.zone != 'middle' else 'mid'} lung zones"
        if o.bilateral
        else f"the {o.side} {o.zone if o.zone != 'middle' else 'mid'} lung zone",
        "form": {"plate": "linear", "wedge": "wedge-shaped"}.get(o.kind, "linear"),
        "amount": {"mild": "mildly", "moderate": "moderately", "marked": "markedly"}.get(o.kind, "mildly"),
        "size_word": o.kind,
        "margin": o.kind,
        "size_mm": f"{o.size_mm:.0f}",
        "size_cm": f"{o.size_mm / 10:.1f}",
    }
    return words | {_capital(key): _capital(value) for key, value in words.items()}


def _once_each(
    observations: Sequence[Observation], fields: Sequence[dict[str, str]]
) -> list[tuple[Observation, dict[str, str]]]:
    seen: set[str] = set()
    out = []
    for o, f in zip(observations, fields, strict=True):
        if o.finding not in seen:
            out.append((o, f))
        seen.add(o.finding)
    return out


def _negatives(rng: np.random.Generator, absent: Sequence[str]) -> list[str]:
    left = set(absent)
    out = []
    for pair, phrasings in ABSENT_PAIRS.items():
        if left.issuperset(pair) and rng.random() < 0.7:
            out.append(_pick(rng, phrasings))
            left -= set(pair)
    singles = [name for name in FINDINGS if name in left]
    rng.shuffle(singles)
    out += [_capital(_pick(rng, ABSENT[name])) + "." for name in singles[:2]]
    order = rng.permutation(len(out))
    return [out[k] for k in order]


def _impression(rng: np.random.Generator, told: Sequence[tuple[Observation, dict[str, str]]]) -> str:
    if not told:
        return _pick(rng, NORMAL_IMPRESSIONS)
    parts = [_pick(rng, IMPRESSIONS[o.finding]).format_map(f) for o, f in told[:4]]
    return _capital("; ".join([parts[0]] + [p[:1].lower() + p[1:] for p in parts[1:]])) + "."


def _summary(
    rng: np.random.Generator, told: Sequence[tuple[Observation, dict[str, str]]], absent: Sequence[str]
) -> str:
    """10 to 15 words: the findings, padded with what is absent."""
    short = {
        "Cardiomegaly": "enlarged heart",
        "Infiltration": "patchy infiltrates",
    }
    parts = []
    for o, f in told:
        side = "bilateral " if o.bilateral else "" if o.side == "midline" else f"{f['side']} "
        zone = f"{f['zone']} zone " if o.finding in ("Atelectasis", "Mass", "Nodule", "Pneumonia") else ""
        parts.append(f"{side}{zone}{short.get(o.finding, o.finding.lower())}")
    words = (
        _capital(", ".join(parts))
        if parts
        else _pick(rng, ("Clear lungs with normal heart", "Normal chest, clear lungs"))
    ).split()
    words = words[: _SUMMARY_WORDS[1]]
    names = [name.lower() for name in absent]
    rng.shuffle(names)
    joined = " ".join(words).rstrip(",")
    for name in names:
        if len(joined.split()) >= _SUMMARY_WORDS[0]:
            break
        joined += f", no {name}"
    if len(joined.split()) < _SUMMARY_WORDS[0]:
        joined += ", otherwise unremarkable posteroanterior chest radiograph"
    return " ".join(joined.split()[: _SUMMARY_WORDS[1]]).rstrip(",") + "."
