"""Whether inference found a lesion that is really there: its rank, its score, and whether it is shown."""

from collections.abc import Mapping, Sequence
from typing import Any


def lesion_verdict(
    document: Mapping[str, Any], finding: str, boxes: Sequence[Sequence[float]]
) -> dict[str, float | int | bool | None]:
    """What inference's findings file says of a lesion.

    A candidate hits where its peak lies in a box of any reader (criterion `centre` of the evaluation).

    Args:
        document: of `bundle.results.findings_file.findings_document`.
        finding: what the lesion is called.
        boxes: of its readers, [x0, y0, x1, y1] in pixels of the stored image, the ends exclusive.

    Returns:
        - `found`: whether a candidate of this finding that hits is shown, by the plan's thresholds.
        - `named`: whether the image is said to have the finding; None without a plan.
        - `probability`, `image_threshold`: of the image, and from where on candidates are shown.
        - `score`, `box_threshold`: of the best candidate that hits, None where none does, and of what is shown.
        - `rank`: its place among the image's candidates of the finding, 1 the best; None where none hits.
        - `candidates`: of the finding, on the image.
        - `shown_elsewhere`: candidates of the finding that are shown and miss it.
        - `found_as`: another finding as which it is marked: that of the best shown candidate that hits, or None.

    Raises:
        ValueError: the file has no such finding, or the image was not assessed.
    """
    if finding not in document["findings"]:
        why = document.get("not_assessed") or f"its findings are {', '.join(document['findings'])}"
        raise ValueError(f"Found no {finding} in the findings file ({why}); wanted a radiograph judged for it.")
    points = document["operating_points"][finding]
    mine = [each for each in document["candidates"] if each["finding"] == finding]  # by falling score
    hits = [place for place, each in enumerate(mine) if _in(each["peak"], boxes)]
    presence = document["presence"].get(finding)
    others = [
        each["finding"]
        for each in document["candidates"]
        if each["finding"] != finding and each["shown"] and _in(each["peak"], boxes)
    ]
    return {
        "found": any(mine[place]["shown"] for place in hits),
        "named": None if presence is None else presence == "present",
        "probability": document["findings"][finding]["image"],
        "image_threshold": points["image"],
        "score": mine[hits[0]]["score"] if hits else None,
        "box_threshold": points["box"],
        "rank": hits[0] + 1 if hits else None,
        "candidates": len(mine),
        "shown_elsewhere": sum(each["shown"] for place, each in enumerate(mine) if place not in hits),
        "found_as": others[0] if others else None,
    }


def _in(peak: Sequence[float], boxes: Sequence[Sequence[float]]) -> bool:
    x, y = peak
    return any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
