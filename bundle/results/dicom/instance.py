"""What the three result objects have in common: who made them, when, under which UIDs, about whom."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from pydicom.valuerep import DA, DT, TM

from bundle.results.dicom.characters import complete_texts
from bundle.results.dicom.source import DicomSource

MANUFACTURER = "Patch-CLIP bundle for MONAI"
# Behind the numbers that devices give their series, so that lists show results after images.
SERIES_NUMBERS = {"sr": 9901, "gsps": 9902, "sc": 9903}
BODY_PART = "CHEST"
_LO, _LO_MORE = 64, "..."


@dataclass(frozen=True)
class Maker:
    """Who made the results, when, and how their UIDs arise.

    Attributes:
        algorithm: name of the algorithm.
        version: of the algorithm.
        notice: what every result says to whoever opens it.
        moment: when the image was analysed, the date and time of all results.
        entropy: what the UIDs are derived from; none makes them random.
    """

    algorithm: str
    version: str
    notice: str
    moment: datetime
    entropy: tuple[str, ...] = field(default=(), repr=False)

    def uid(self, role: str) -> UID:
        """A new UID; with entropy, the same for the same entropy and role."""
        return generate_uid(entropy_srcs=[*self.entropy, role] if self.entropy else None)

    def device_uid(self) -> UID:
        """Of the algorithm in this version, the same in all results."""
        return generate_uid(entropy_srcs=["device", MANUFACTURER, self.algorithm, self.version])

    def equipment(self) -> dict[str, Any]:
        """Arguments of highdicom that describe the device."""
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": short(self.algorithm),
            "software_versions": short(self.version),
        }

    def series(self, kind: str, description: str) -> dict[str, Any]:
        """Arguments of highdicom that describe a series of one instance; `kind` is sr, gsps or sc."""
        return {
            "series_instance_uid": self.uid(f"{kind} series"),
            "series_number": SERIES_NUMBERS[kind],
            "sop_instance_uid": self.uid(f"{kind} instance"),
            "instance_number": 1,
            "series_description": short(f"{self.algorithm} {description}"),
        }


def complete(result: Dataset, source: DicomSource, maker: Maker) -> Dataset:
    """Give a result its patient, its study and its moment, and leave out the clock's.

    Args:
        result: as highdicom built it, with an empty patient and study; changed in place.
        source: of the image.
        maker: of the result.

    Returns:
        The result.
    """
    if result.Modality != "SR":  # an SR's series has no body part; others must name one, or a laterality (C.7.3.1)
        result.BodyPartExamined = BODY_PART
    for dataset in (result, *result.get("ContributingEquipmentSequence", [])):
        for element in list(dataset):
            if element.VR in ("DA", "TM", "DT"):
                element.value = {"DA": DA, "TM": TM, "DT": DT}[element.VR](_written(element.VR, maker.moment))
    complete_texts(result, source.identity, source.characters)
    return result


def short(text: str, most: int = _LO) -> str:
    """The text, cut to what an attribute holds (64 characters of an LO), with the cut shown; no backslash."""
    text = text.replace("\\", "/")
    return text if len(text) <= most else text[: most - len(_LO_MORE)].rstrip() + _LO_MORE


@contextmanager
def quiet_highdicom() -> Iterator[None]:
    """Keeps highdicom's log, which names instances and patients, out of ours."""
    logger = logging.getLogger("highdicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _written(vr: str, moment: datetime) -> str:
    return moment.strftime({"DA": "%Y%m%d", "TM": "%H%M%S", "DT": "%Y%m%d%H%M%S"}[vr])
