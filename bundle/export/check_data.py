"""A few images with a datalist, to build and run a bundle's workflows on; nothing is learnt from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.io import imsave

from bundle.atomic import write_json

IMAGES = {"training": 4, "validation": 2, "test": 2}
HEIGHT, WIDTH = 120, 100


def write_check_data(folder: Path, findings: Sequence[str], seed: int = 0) -> Path:
    """Write grey noise as 8-bit PNG into `folder`/images and `folder`/datalist.json, with reports, labels and boxes.

    Every finding is in every other image.

    Args:
        folder: an empty one.
        findings: names.
        seed: of the noise.

    Returns:
        `folder`.
    """
    generator, number = np.random.default_rng(seed), 0
    (folder / "images").mkdir(parents=True)
    datalist: dict[str, object] = {"findings": list(findings)}
    for section, count in IMAGES.items():
        entries = []
        for _ in range(count):
            name, present = f"images/{number:02d}.png", number % 2
            imsave(folder / name, generator.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8), check_contrast=False)
            boxes = [{"finding": finding, "box": [20, 20, 60, 60]} for finding in findings] if present else []
            entries.append(
                {
                    "image": name,
                    "patient_id": f"made-{number}",
                    "report": "Made for a check.",
                    "labels": dict.fromkeys(findings, present),
                    "boxes": boxes,
                    "boxed": list(findings),
                }
            )
            number += 1
        datalist[section] = entries
    write_json(folder / "datalist.json", datalist)
    return folder
