"""The vocabulary of regions: attributes, their values, which of them a finding has, and which exclude each other.

A value is a word of this file, not of a report: "medium" is said "moderate" of an effusion. What a caption looks like
is decided in `captions.py`.
"""

from dataclasses import dataclass
from functools import lru_cache

ATTRIBUTES = ("side", "zone", "size", "density", "shape")
SWAPS = (*ATTRIBUTES, "presence")
"""What a hard negative may have swapped."""

VALUES: dict[str, tuple[str, ...]] = {
    "side": ("left", "right", "bilateral", "midline"),
    "zone": ("upper", "middle", "lower", "upper lobe", "middle lobe", "lower lobe"),
    "size": ("small", "medium", "large"),
    "density": ("subtle", "moderate", "marked"),
    "shape": (
        *("well-defined", "ill-defined", "spiculated", "cavitary", "solid"),
        *("linear", "wedge-shaped", "rounded"),
    ),
    "presence": ("present", "absent"),
}
SYNONYMS: dict[str, dict[str, str]] = {
    "side": {"both": "bilateral", "central": "midline"},
    "zone": {"mid": "middle", "apical": "upper", "basal": "lower"},
    "size": {"mild": "small", "moderate": "medium", "marked": "large"},
    "density": {"faint": "subtle", "dense": "marked"},
    "shape": {"smooth": "well-defined", "plate": "linear", "wedge": "wedge-shaped", "round": "rounded"},
}

# A spiculated mass may be called ill-defined, and a cavitary one either: only what cannot both be said is in one group.
# A zone and a lobe overlap on a frontal image; both sides are not one of them, nor the midline.
_EXCLUSIVE: dict[str, tuple[frozenset[str], ...]] = {
    "side": (frozenset({"left", "right", "midline"}), frozenset({"bilateral", "midline"})),
    "zone": (frozenset({"upper", "middle", "lower"}), frozenset({"upper lobe", "middle lobe", "lower lobe"})),
    "size": (frozenset(VALUES["size"]),),
    "density": (frozenset(VALUES["density"]),),
    "shape": (
        frozenset({"well-defined", "ill-defined"}),
        frozenset({"well-defined", "spiculated"}),
        frozenset({"cavitary", "solid"}),
        frozenset({"linear", "wedge-shaped", "rounded"}),
    ),
}
_ROUND = ("well-defined", "ill-defined", "spiculated", "cavitary", "solid")
_GRADES = ("small", "moderate", "large")


@dataclass(frozen=True)
class FindingWords:
    """How a finding is spoken of.

    Attributes:
        noun: its name in a sentence.
        attributes: those that it has; what a datalist says of others is not looked at.
        plural: of a finding that is counted, else empty.
        place: what it lies in: "zone" (of a lung, or a lung), "base", "side"; empty for the heart, which does not move.
        paired: whether it is customary to say that it is on both sides.
        sizes: its words for small, medium and large.
        how: the question for its size, "how ... is it?".
        limits_mm: from which `size_mm` on it is medium and large; None where millimetres do not say it.
        round: whether its box tells that size.
        shapes: those that it may have.
    """

    noun: str
    attributes: tuple[str, ...]
    plural: str = ""
    place: str = "zone"
    paired: bool = True
    sizes: tuple[str, str, str] = ("small", "medium-sized", "large")
    how: str = "large"
    limits_mm: tuple[float, float] | None = None
    round: bool = False
    shapes: tuple[str, ...] = ()


_EFFUSION = FindingWords("pleural effusion", ("side", "size"), "pleural effusions", "base", sizes=_GRADES)
# A nodule ends at 30 mm, where a mass begins. The limits between make thirds of what the demo draws (8-30, 30-70 mm).
_WORDS: dict[str, FindingWords] = {
    "atelectasis": FindingWords(
        "atelectasis", ("side", "zone", "density", "shape"), shapes=("linear", "wedge-shaped", "rounded")
    ),
    "cardiomegaly": FindingWords(
        "cardiomegaly", ("size",), place="", sizes=("mild", "moderate", "marked"), how="severe"
    ),
    "consolidation": FindingWords("consolidation", ("side", "zone", "density")),
    "effusion": _EFFUSION,
    "infiltration": FindingWords("infiltration", ("side", "zone", "density")),
    "mass": FindingWords("mass", ATTRIBUTES, "masses", paired=False, limits_mm=(40, 55), round=True, shapes=_ROUND),
    "nodule": FindingWords(
        "nodule", ATTRIBUTES, "nodules", paired=False, limits_mm=(12, 20), round=True, shapes=_ROUND
    ),
    "pleural effusion": _EFFUSION,
    "pneumonia": FindingWords("pneumonia", ("side", "zone", "density")),
    # size_mm is the gap between lung and chest wall
    "pneumothorax": FindingWords(
        "pneumothorax", ("side", "size"), "pneumothoraces", "side", sizes=_GRADES, limits_mm=(15, 22)
    ),
}
# One reader's word for what another calls by the other: of an image with the one, the other is not called false.
_ALIKE = (
    frozenset({"mass", "nodule"}),
    frozenset({"infiltration", "pneumonia", "consolidation"}),
    frozenset({"effusion", "pleural effusion", "pleural thickening"}),
)


@lru_cache(maxsize=256)
def words_of(finding: str) -> FindingWords:
    """How a finding is spoken of; one that is not known here has every attribute, its name as noun, and is not counted.

    Args:
        finding: as the datalist names it; case, and "_" for a space, do not matter.
    """
    name = _plain(finding)
    return _WORDS.get(name) or FindingWords(name, ATTRIBUTES, shapes=VALUES["shape"])


@lru_cache(maxsize=4096)
def alike(one: str, other: str) -> bool:
    """Whether a finding is the other, or may be called by its name (mass and nodule, pneumonia and infiltration)."""
    a, b = _plain(one), _plain(other)
    return a == b or any(a in group and b in group for group in _ALIKE)


def excludes(attribute: str, one: str, other: str) -> bool:
    """Whether two values of an attribute cannot both be said of a region; an unknown value (empty) excludes none."""
    return one != other and any(one in group and other in group for group in _EXCLUSIVE[attribute])


def _plain(finding: str) -> str:
    return " ".join(finding.lower().replace("_", " ").split())
