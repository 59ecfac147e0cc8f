"""The caption of a region: finding, side, zone, size, density and shape in one canonical wording."""

from dataclasses import dataclass

from bundle.data.region_words import words_of

_DENSITY = {"subtle": "faint", "moderate": "moderately dense", "marked": "dense"}
_ZONE = {"upper": "upper zone", "middle": "mid zone", "lower": "lower zone"}


@dataclass(frozen=True)
class Description:
    """What is said, or known, of a region. An attribute that is empty is unknown; values are those of `VALUES`.

    Attributes:
        finding: as the datalist names it.
        side: the patient's.
        zone: third of the lungs' height, or lobe.
        size: small, medium or large, of its finding.
        density: subtle, moderate or marked.
        shape: margin or form.
        present: False says that there is none such.
        both_sides: the finding is on both sides, of which this region may be one; no caption says it.
    """

    finding: str
    side: str = ""
    zone: str = ""
    size: str = ""
    density: str = ""
    shape: str = ""
    present: bool = True
    both_sides: bool = False


def region_caption(description: Description) -> str:
    """A caption, such as "large dense spiculated mass in the left upper zone".

    Equal descriptions have equal captions: the words are always the same, so that nothing but the attributes tells a
    true caption from a false one. Only attributes that the finding has are said.

    Args:
        description: of the region.

    Returns:
        Lower-case words without a full stop; "no ..." where it is not present.
    """
    words = words_of(description.finding)
    said = {
        name: getattr(description, name) if name in words.attributes else "" for name in ("size", "density", "shape")
    }
    parts = [
        "" if description.present else "no",
        size_word(description.finding, said["size"]),
        _DENSITY.get(said["density"], ""),
        said["shape"],
        words.noun,
        _where(description),
    ]
    return " ".join(part for part in parts if part)


def size_word(finding: str, size: str) -> str:
    """A finding's word for small, medium or large, such as "moderate" for a medium effusion; empty for an unknown."""
    return dict(zip(("small", "medium", "large"), words_of(finding).sizes, strict=True)).get(size, "")


def place_name(description: Description) -> str:
    """Where a region lies, such as "left upper zone", "right base" or "both lungs"; empty where it is not known."""
    words = words_of(description.finding)
    side = description.side if "side" in words.attributes else ""
    zone = description.zone if "zone" in words.attributes else ""
    if words.place != "zone":
        one = words.place if side in ("left", "right", "bilateral") else ""
        return _sided(side, one, f"{one}s")
    if not zone:
        return "midline" if side == "midline" else _sided(side, "lung", "lungs") if side else ""
    name = _ZONE.get(zone, zone)
    return f"midline of the {name}" if side == "midline" else _sided(side, name, f"{name}s")


def _sided(side: str, one: str, many: str) -> str:
    if not one:
        return ""
    return f"both {many}" if side == "bilateral" else f"{side} {one}".strip()


def _where(description: Description) -> str:
    """The place with its preposition."""
    place = place_name(description)
    if not place:
        return ""
    preposition = {"base": "at", "side": "on"}.get(words_of(description.finding).place, "in")
    return f"{preposition} {place}" if place.startswith("both ") else f"{preposition} the {place}"
