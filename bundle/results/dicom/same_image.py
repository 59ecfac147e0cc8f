"""Whether findings are of the image that results will be filed with: with another they would be the wrong patient's."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.results.dicom.source import DicomSource

logger = logging.getLogger(__name__)

HASH = "pixels_sha256"


def refuse_another_image(image: str | Path, source: DicomSource, document: Mapping[str, Any]) -> None:
    """Compare what a document says of its image with an image.

    The hash of the pixels decides. A document that an older version wrote has none: then size, spacing and how the
    grey values were read must agree, as far as it names them, and a warning says that this is all that was compared.

    Args:
        image: the file, for messages.
        source: what was read from it.
        document: the findings.

    Raises:
        ValueError: they are of another image.
    """
    remedy = "Give the image and the JSON that inference wrote about it, or run inference again"
    size = (document["stored_size"]["height"], document["stored_size"]["width"])
    if size != tuple(source.meta["stored_size"]):
        raise ValueError(
            f"{image}: the image is {source.meta['stored_size']}, but the findings are of one of {size}. {remedy}"
        )
    reading: Mapping[str, Any] = document.get("reading", {})
    if HASH in reading:
        if reading[HASH] != source.meta[HASH]:
            raise ValueError(f"{image}: the findings are of an image with other pixels than this one. {remedy}")
        return
    different = [key for key in reading if key in source.meta and reading[key] != _as_json(source.meta[key])]
    if (spacing := document.get("spacing_mm")) is not None:
        here = source.meta["spacing"]
        if here is None or {"row": round(here[0], 6), "column": round(here[1], 6)} != spacing:
            different.append("spacing")
    if different:
        raise ValueError(f"{image}: the findings are of an image with another {', '.join(different)}. {remedy}")
    logger.warning(
        "The findings hold no hash of their image's pixels (an older version wrote them): nothing but its size, its "
        "spacing and how it was read shows that they are of this one."
    )


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
