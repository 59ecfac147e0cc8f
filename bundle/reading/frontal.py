"""Whether an image says, or shows, that it is no frontal chest radiograph: then it is not assessed, and has no score.

Nothing is refused for what is missing, empty or unknown here: many real headers lack these attributes or fill them with
words of their own. Only what names something else is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from bundle.reading.body_parts import ELSEWHERE, IN_THE_CHEST

# What an image is of, as its header says it. Values are compared and never quoted: anything may have been typed there.
STATED_TAGS = frozenset(
    Tag(keyword)
    for keyword in (
        *("Modality", "BodyPartExamined", "AnatomicRegionSequence"),
        *("ViewPosition", "ViewCodeSequence", "PatientOrientation"),
    )
)

# Terms of PS3.3 C.7.3.1.1.1 (Modality) for what is no plain radiograph of a trunk. CR, DX, RG, RF, XA, OT and what is
# no term of the standard pass.
OTHER_MODALITIES = {
    *("CT", "MR", "US", "MG", "NM", "PT", "ST", "BMD", "IO", "PX", "BDUS", "IVUS", "IVOCT", "OCT", "RTIMAGE", "RTDOSE"),
    *("OP", "OPT", "OPTENF", "OPTBSV", "OPV", "OAM", "AR", "KER", "LEN", "SRF", "VA", "ECG", "EPS", "SEG", "BI", "TG"),
    *("ES", "GM", "SM", "CFM", "XC", "DMS", "DG", "LS"),
}

# View Position (0018,5101): the terms of PS3.3 C.8.1.1 (CR) and C.8.11.5.1.1 (DX), and what public archives hold beside
# them. Decubitus (LLD, RLD) says how the patient lies; the projection is frontal.
_FRONTAL = {"AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR", "ANTERO", "POSTERO"}
_LATERAL = {
    *("LL", "RL", "LAT", "LLAT", "RLAT", "LATERAL", "ML", "LM", "MEDIOLATERAL", "LATEROMEDIAL", "LATERO"),
    *("SAGITTAL", "SWIMMERS"),
}
_OBLIQUE = {"RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "MLO", "LMO", "OBL", "OBLIQUE", "OBLICUA"}

# View Code Sequence (0054,0220): all of PS3.16 CID 4010 but frontal, antero-posterior, postero-anterior and axial
# (lordotic), as SNOMED CT and in the codes that files before 2018 have (SRT, SNM3).
VIEW_CODES = {
    "a lateral view": (
        *("399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232", "399352003", "R-10228"),
        *("399260004", "R-10224", "30730003", "G-A145", "R-10222"),
    ),
    "an oblique view": (
        *("399312000", "R-10208", "399059000", "R-10216", "399160007", "R-10204", "399132005", "R-10252"),
        *("260427002", "R-40783", "260426006", "R-40782", "399099002", "R-10230", "399368009", "R-10226"),
        *("399135007", "R-10220", "399356000", "R-40985", "410467002", "R-10218", "399006002", "R-10212"),
        *("399038007", "R-10210", "399184004", "R-10238", "399236003", "R-10234", "399182000", "R-102C1"),
        *("399004004", "R-10246", "399225005", "R-10250", "399288005", "R-10248", "399325008", "R-10254"),
    ),
    "a view that no chest radiograph has": (
        *("399242004", "R-102C6", "399272005", "R-102C5", "399351005", "R-102C7", "399316002", "R-102C8"),
        *("399255003", "R-10256", "399360002", "R-10257", "399335002", "R-102C4", "399071006", "R-102C3"),
        *("399196006", "R-10244", "399162004", "R-10242", "260499007", "R-40810", "399110001", "R-102C2"),
        *("119376003", "G-8300"),
    ),
}
_VIEW_OF_CODE = {code: view for view, codes in VIEW_CODES.items() for code in codes}
_SNOMED = ("SCT", "SRT", "SNM3", "99SDM")  # designators of one vocabulary over the years (PS3.16 8)

MIN_SIDE = 16  # pixels: no list of chests has so few (ChestMNIST has 28)
MAX_ELONGATION = 2.5  # long side over short; 2.07 is the most of 226,000 frontal chests in public lists (docs/data.md)

MIN_SPREAD = 0.02  # of the shown range, between the 0.5th and the 99.5th percentile
# How many pixels are looked at, as the side of a square, and the least structure there. White noise has about half of
# that, chests .58 and more at either look (docs/data.md); the first look, of .1 ms, is enough for them.
LOOKS = ((48, 0.45), (384, 0.05))
_TILES = 8


def stated_otherwise(header: Dataset) -> str | None:
    """Why a DICOM image is, by its header, no frontal chest radiograph.

    Args:
        header: with those of `STATED_TAGS` that the file has, whatever the values.

    Returns:
        The reason, or None. What pydicom raises for a damaged sequence passes; the other attributes come before.
    """
    if _text(header, "Modality").strip().upper() in OTHER_MODALITIES:
        return "Modality (0008,0060) states something else than plain radiography"
    if part := _elsewhere(_text(header, "BodyPartExamined")):
        return f"Body Part Examined (0018,0015) states {part}, not the chest"
    if view := _view(_text(header, "ViewPosition")):
        return f"View Position (0018,5101) states {view}"
    # PS3.3 C.7.6.1.1.1: where rows and columns run to; A and P lie in no frontal plane.
    if any(way.strip().upper()[:1] in ("A", "P") for way in _text(header, "PatientOrientation").split("\\")):
        return "Patient Orientation (0020,0020) states a lateral view"
    if part := _meaning(header, "AnatomicRegionSequence", ELSEWHERE):
        return f"Anatomic Region Sequence (0008,2218) states {part}, not the chest"
    if view := _meaning(header, "ViewCodeSequence", _VIEW_OF_CODE):
        return f"View Code Sequence (0054,0220) states {view}"
    return None


def odd_shape(size: tuple[int, int]) -> str | None:
    """Why an image of (H, W) pixels is no chest radiograph, or None."""
    short, long = sorted(size)
    if short < MIN_SIDE or long > MAX_ELONGATION * short:
        return f"no chest radiograph has {size[0]} rows and {size[1]} columns"
    return None


def blank(image: npt.NDArray[np.float32]) -> str | None:
    """Why an image (..., H, W), 0..1, shows nothing, or None: it is constant, nearly so, or noise alone.

    With s = p99.5 - p0.5 of the shown values and t the range of the means of 8 x 8 tiles: s < .02, or t < .05 s.
    """
    if all(_structure(image, side) < least for side, least in LOOKS):
        return "the image is blank: what it shows is constant, or noise"
    return None


def _structure(image: npt.NDArray[np.float32], side: int) -> float:
    """t / s of an image, thinned to some `side` x `side` pixels; 0 where s is below `MIN_SPREAD`."""
    height, width = image.shape[-2:]
    step = max(1, int(math.sqrt(height * width) / side))
    shown = image.reshape(height, width)[::step, ::step]
    thin = max(1, int(math.sqrt(shown.size) / 96))
    few = np.sort(shown[::thin, ::thin], axis=None)
    spread = float(few[-1 - few.size // 200] - few[few.size // 200])
    if spread < MIN_SPREAD:
        return 0.0
    down, across = (min(_TILES, length) for length in shown.shape)
    rows, columns = shown.shape[0] // down, shown.shape[1] // across
    tiles = shown[: down * rows, : across * columns].reshape(down, rows, across, columns)
    return float(np.ptp(tiles.mean((1, 3)))) / spread


def _elsewhere(stated: str) -> str | None:
    """The body part outside the chest that a value names, in the standard's word for it."""
    words = re.findall(r"[A-Z]+", stated.upper())
    whole = "".join(words)
    if any(word in whole for word in IN_THE_CHEST):
        return None
    names = (name for word in (*words, whole) for name in (word, word.removesuffix("S")))
    return next((ELSEWHERE[name] for name in names if name in ELSEWHERE), None)


def _view(stated: str) -> str | None:
    """The view that a value names, unless it may be frontal."""
    words = set(re.findall(r"[A-Z]+", stated.upper()))
    if words & _OBLIQUE:
        return "an oblique view"
    if words & _LATERAL and not words & _FRONTAL and not any(word.startswith("DECUB") for word in words):
        return "a lateral view"
    return None


def _text(header: Dataset, keyword: str) -> str:
    """An attribute as text, several values with a backslash between; "" where there is none.

    It is taken as it lies in the file: pydicom's conversion quotes values that the standard forbids in a warning.
    """
    element: Any = header.get_item(keyword)
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").rstrip("\0 ")
    if isinstance(value, str) or value is None:
        return value or ""
    return "\\".join(map(str, value)) if hasattr(value, "__iter__") else str(value)


def _meaning(header: Dataset, keyword: str, known: Mapping[str, str]) -> str | None:
    """What the first known SNOMED code of a sequence means; codes within its items, of modifiers, do not count."""
    element: Any = header.get_item(keyword)
    raw = None if element is None else element.value
    if isinstance(raw, bytes) and known.keys().isdisjoint(re.findall(r"[A-Z0-9-]+", raw.decode("latin-1"))):
        return None  # most files: parsing the items would take .2 ms
    items = header.get(keyword)
    for item in items if isinstance(items, Sequence) else ():  # of another VR where the file is odd
        code = _text(item, "CodeValue").strip()
        if code in known and _text(item, "CodingSchemeDesignator").strip() in _SNOMED:
            return known[code]
    return None
