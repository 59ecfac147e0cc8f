"""Captions that are wrong for a region by one attribute, and true of no region of its image."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from bundle.data.captions import Description, region_caption
from bundle.data.region_words import ATTRIBUTES, SWAPS, VALUES, alike, excludes, words_of

KINDS = (*SWAPS, "finding")
"""What is wrong in a hard negative: one swapped attribute, or, as filling, the finding."""

_DRAWN = 20  # of a finding, from the pool: enough that some lie at the region's place


@dataclass(frozen=True)
class HardNegative:
    """A wrong caption.

    Attributes:
        kind: what is wrong, one of `KINDS`.
        description: what it says.
    """

    kind: str
    description: Description

    @property
    def caption(self) -> str:
        """Its words."""
        return region_caption(self.description)


class CaptionPool:
    """What is truly said of regions: where hard negatives take their fillings from, and which values are usual.

    Args:
        regions: of the images of the training section.
    """

    def __init__(self, regions: Iterable[Description] = ()) -> None:
        by_caption = {region_caption(region): region for region in regions}
        self._regions: dict[str, list[Description]] = {}
        for region in by_caption.values():
            self._regions.setdefault(region.finding, []).append(region)
        self._said = {(r.finding, name, getattr(r, name)) for r in by_caption.values() for name in ATTRIBUTES}

    def is_usual(self, claim: HardNegative) -> bool:
        """Whether the swapped value is ever said of the finding; a negation counts as usual."""
        description = claim.description
        value = getattr(description, claim.kind, "")
        return claim.kind == "presence" or (description.finding, claim.kind, value) in self._said

    def draw(self, finding: str, near: Description, rng: random.Random) -> list[Description]:
        """Some regions of a finding, those at the place of another one first."""
        regions = self._regions.get(finding, [])
        drawn = rng.sample(regions, min(_DRAWN, len(regions)))
        return sorted(drawn, key=lambda each: (each.side != near.side) + (each.zone != near.zone))


def hard_negatives(
    regions: Sequence[Description],
    number: int,
    pool: CaptionPool | None = None,
    settled: Iterable[str] = (),
    count: int = 6,
    seed: int = 0,
    image: int = 0,
) -> list[HardNegative]:
    """Wrong captions of a region: each differs from its caption by exactly one attribute, and none can be true.

    Swapped are the known attributes that its finding has: side, zone, size, density and shape to a value that excludes
    the true one, and presence ("no ..."). What could be true of any region of the image, by what is known of it, is
    left out (`could_be_true`). The attributes take turns until there are enough. A value that the pool says of the
    finding goes before one that it never does: no caption should be known as wrong by its words alone.

    Some findings have few attributes (a cardiomegaly size and presence), some regions are hardly known. What is then
    missing is filled up with captions of the pool, of other findings, by turns, those at the region's place first.
    Where that does not suffice there are fewer.

    Where the boxes of a finding are not complete, a caption may be true of a region that nobody drew; it is still false
    of this one.

    Args:
        regions: all regions of the image, of every finding.
        number: which of them.
        pool: what is said in other images; None leaves nothing to fill up with.
        settled: the findings to fill up with: absent from the image, or with all their regions known.
        count: how many captions.
        seed: of the choice.
        image: the image's index.

    Returns:
        At most `count`, of distinct captions, fillings last. The same arguments give the same.
    """
    region, pool = regions[number], pool or CaptionPool()
    rng = random.Random(f"{seed}:{image}:{number}")
    swapped = [claim for claim in _swapped(region) if not could_be_true(claim.description, regions)]
    rng.shuffle(swapped)
    usual = [claim for claim in swapped if pool.is_usual(claim)]
    found = _turns(_by_kind(usual)) + _turns(_by_kind(claim for claim in swapped if not pool.is_usual(claim)))
    if len(found) < count:
        names = [finding for finding in settled if finding != region.finding]
        rng.shuffle(names)
        found += _turns([_fillings(pool.draw(name, region, rng), regions) for name in names])
    distinct: dict[str, HardNegative] = {}
    for claim in found:
        if len(distinct) < count:
            distinct.setdefault(claim.caption, claim)
    return list(distinct.values())


def could_be_true(claim: Description, regions: Iterable[Description]) -> bool:
    """Whether a caption may be true of an image, by what is known of its regions.

    It may, if it names the finding of a region, or one that readers confuse with it (`alike`), and no attribute that it
    states is excluded by a known one of that region. A claim of both sides needs a region for either; a finding that is
    said to be on both sides is on either. "No ..." is false if a region is known to have all that is stated.

    Args:
        claim: what the caption says.
        regions: all regions of the image; other findings are taken as absent.
    """
    regions = list(regions)
    if not claim.present:
        return not any(_surely(claim, region) for region in regions)
    if claim.side == "bilateral":
        halves = [replace(claim, side=side) for side in ("left", "right")]
        return all(any(_possibly(half, region) for region in regions) for half in halves)
    return any(_possibly(claim, region) for region in regions)


def _possibly(claim: Description, region: Description) -> bool:
    """Whether nothing known of the region speaks against the claim."""
    if not alike(claim.finding, region.finding):
        return False
    same = words_of(claim.finding) == words_of(region.finding)
    # small for a mass is large for a nodule
    names = [name for name in ATTRIBUTES if not (name == "side" and region.both_sides) and (same or name != "size")]
    return not any(excludes(name, getattr(claim, name), getattr(region, name)) for name in names)


def _surely(claim: Description, region: Description) -> bool:
    """Whether the region is known to have all that the claim states, its presence aside."""
    stated = [name for name in ATTRIBUTES if getattr(claim, name)]
    return words_of(claim.finding) == words_of(region.finding) and all(
        getattr(claim, name) == getattr(region, name) or (name == "side" and region.both_sides) for name in stated
    )


def _swapped(region: Description) -> Iterator[HardNegative]:
    """The region's description with one known attribute swapped, in every way that can be said."""
    words = words_of(region.finding)
    yield HardNegative("presence", replace(region, present=False))
    for name in words.attributes:
        value = getattr(region, name)
        allowed = {"side": ("left", "right", *(["bilateral"] if words.paired else [])), "shape": words.shapes}
        for other in allowed.get(name, VALUES[name]):
            both = name == "side" and other == "bilateral" and value in ("left", "right")
            if not (both or excludes(name, value, other)):
                continue
            claim = replace(region, **{name: other})  # type: ignore[arg-type]
            if claim.zone == "middle lobe" and claim.side not in ("right", ""):
                continue  # the left lung has none
            yield HardNegative(name, claim)


def _fillings(drawn: Iterable[Description], regions: Sequence[Description]) -> list[HardNegative]:
    """What is drawn from the pool and cannot be true here."""
    return [HardNegative("finding", each) for each in drawn if not could_be_true(each, regions)]


def _by_kind(claims: Iterable[HardNegative]) -> list[list[HardNegative]]:
    """Lists of one kind, in the order in which the kinds come."""
    result: dict[str, list[HardNegative]] = {}
    for claim in claims:
        result.setdefault(claim.kind, []).append(claim)
    return list(result.values())


def _turns(lists: Iterable[Sequence[HardNegative]]) -> list[HardNegative]:
    """The first of each list, then the second of each, and so on."""
    return [claim for each in zip_longest(*lists) for claim in each if claim is not None]
