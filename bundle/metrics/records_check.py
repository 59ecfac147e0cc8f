"""Whether records can be judged at all: every fault is named with its image, before any figure is made of it."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bundle.metrics.records import Floats, Integers, Records

_SHOWN = 5


def check_records(records: Records, names: Mapping[int, str] | None = None, known: Sequence[str] | None = None) -> None:
    """Refuse records of which no figure may be made.

    Args:
        records: to look at.
        names: from index to the image's name, for the messages.
        known: the findings of the datalist that they are judged by; None does not ask.

    Raises:
        ValueError: where a finding is not known; an image stands twice or out of order; a lesion or candidate is of an
            image or finding that is not there; a label is not 1, 0 or NaN; a patch area or size of a pixel is neither
            positive and finite nor NaN; a candidate's score is not finite, a lesion's is NaN or +inf, or the image
            score of a labelled finding is not finite. The message names the images.
    """
    unknown = [finding for finding in records.findings if known is not None and finding not in known]
    if unknown:
        raise ValueError(f"the records hold {unknown}, but the datalist knows the findings {list(known or ())}")
    images, lesions, candidates = records.images, records.lesions, records.candidates
    shown = _Namer(names or {})
    step = np.diff(images.index)
    if (step <= 0).any():
        again = images.index[1:][step == 0]
        if len(again):
            raise ValueError(f"the records hold {shown(again)} more than once; every image counts once")
        raise ValueError("the images of the records must be by rising index")
    for what, index, finding in (
        ("lesions", lesions.index, lesions.finding),
        ("candidates", candidates.index, candidates.finding),
    ):
        if (absent := ~np.isin(index, images.index)).any():
            raise ValueError(f"there are {what} of {shown(index[absent])}, which the records do not hold")
        if (wrong := (finding < 0) | (finding >= len(records.findings))).any():
            raise ValueError(f"{what} of {shown(index[wrong])} are of no finding among {list(records.findings)}")
    label = images.label
    if (wrong := ~(np.isnan(label) | (label == 0) | (label == 1))).any():
        raise ValueError(f"labels must be 1, 0 or NaN, but are not for {shown(images.index[wrong.any(1)])}")
    if (wrong := (images.patch_area <= 0) | np.isinf(images.patch_area)).any():
        raise ValueError(f"the area of a patch is not a positive number: {shown(images.index[wrong])}")
    if (wrong := (images.pixel_mm <= 0) | np.isinf(images.pixel_mm)).any():
        raise ValueError(f"the size of a pixel in mm is not a positive number: {shown(images.index[wrong.any(1)])}")
    if (wrong := ~np.isfinite(candidates.score)).any():
        raise ValueError(f"the score of a candidate is not finite: {shown(candidates.index[wrong])}")
    if (wrong := np.isnan(lesions.score) | (lesions.score == np.inf)).any():
        raise ValueError(f"the score of a lesion is NaN or +inf: {shown(lesions.index[wrong])}")
    for score, values in images.scores.items():
        if (wrong := ~np.isfinite(values) & ~np.isnan(label)).any():
            where = shown(images.index[wrong.any(1)])
            raise ValueError(f"the image score {score!r} of a labelled finding is not finite: {where}")


def check_same_truth(records: Mapping[str, Records], reference: str) -> None:
    """Refuse methods that were not judged by the same images, labels, boxes and criterion.

    Args:
        records: of each method, by name.
        reference: the method that the others are held against.

    Raises:
        ValueError: naming the method and the first thing in which it differs from the reference.
    """
    for name, mine in records.items():
        for difference in _differences(records[reference], mine):
            raise ValueError(f"{name!r} and {reference!r} cannot be compared: {difference}")


def _differences(reference: Records, mine: Records) -> Iterator[str]:
    """What differs, in words; later ones make sense only where the earlier are equal."""
    shown = _Namer({})
    if mine.findings != reference.findings:
        yield f"their findings are {list(mine.findings)} and {list(reference.findings)}"
    if mine.criterion != reference.criterion:
        yield f"their hit criteria are '{mine.criterion}' and '{reference.criterion}'"
    a, b = mine.images, reference.images
    if len(lone := np.setxor1d(a.index, b.index)):
        yield f"only one of them was judged on {shown(lone)}"
    for what, x, y in (("label", a.label, b.label), ("status", a.status, b.status), ("group", a.group, b.group)):
        differ = ~((x == y) | (np.isnan(x) & np.isnan(y)))
        if differ.any():
            yield f"the {what} differs for {shown(a.index[differ.reshape(len(a.index), -1).any(1)])}"
    boxes, others = (_boxes(each) for each in (mine, reference))
    if not np.array_equal(boxes, others):
        same = {tuple(row) for row in boxes.tolist()} ^ {tuple(row) for row in others.tolist()}
        yield f"the boxes differ for {shown(np.array(sorted({int(row[0]) for row in same})))}"


def _boxes(records: Records) -> Floats:
    """Image, finding, place and corners of every lesion, in one order: (L, 7)."""
    lesions = records.lesions
    rows = np.column_stack([lesions.index, lesions.finding, lesions.lesion, lesions.box])
    ordered: Floats = rows[np.lexsort((lesions.lesion, lesions.index))]
    return ordered


class _Namer:
    """Images in words: their numbers, with their names where known, the first few of many."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names

    def __call__(self, index: Integers) -> str:
        numbers = np.unique(index).tolist()
        words = [f"{n} ({self.names[n]})" if self.names.get(n) else str(n) for n in numbers[:_SHOWN]]
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        return f"image{'s' if len(numbers) > 1 else ''} {', '.join(words)}{more}"
