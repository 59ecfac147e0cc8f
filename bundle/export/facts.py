"""What has to travel with exported weights so that they can be used without this repository."""

import json
from typing import Any

from bundle.comments import without_comments
from bundle.export.exportable import INPUT, OUTPUTS, SCORE_NAMES
from bundle.export.packaged import PackagedBundle
from bundle.fingerprint import file_sha256
from bundle.networks.prompts import Prompts
from bundle.probability import OperatingPoints
from bundle.reading.options import ReadingOptions
from bundle.versions import versions

# read as it stands by people; tests/workflows/test_packages.py runs what docs/exports.md makes of it
PREPROCESSING = {
    "values": "float32, 0..1, one channel, bright is dense. DICOM: modality LUT or rescale, then VOI LUT or window to "
    "0..1, then inversion for MONOCHROME1 or Presentation LUT Shape INVERSE. PNG, JPEG, TIFF: the type's range, "
    "0..255 or 0..65535. NIfTI, MetaImage: percentiles 0.5 to 99.5.",
    "turn": "upright, by TIFF and EXIF orientation and DICOM Patient Orientation",
    "resize": "a = height / width of a pixel, by spacing or aspect ratio, else 1; s = min(canvas / (a H), canvas / W); "
    "to round(s a H) x round(s W), bilinear with antialiasing",
    "pad": "with 0, centred: (canvas - size) // 2 at the top and at the left",
    "normalisation": "none: it is inside the network",
}


def export_facts(package: PackagedBundle) -> dict[str, str]:
    """The metadata of an export: names to text, JSON where it is not plain text.

    `name`, `version`, `notice`; `findings`: the K names in the order of the outputs; `prompts`: for each finding the
    negative and the positive texts, where the package knows them; `canvas`: side in pixels; `grid`: [Gh, Gw];
    `inputs`, `outputs`: shapes; `scores`: the S names in the order of that output; `preprocessing`, with the options
    `reading`; `candidates`: how `inferring` makes boxes of maps; `operating_points`: calibration and thresholds of each
    finding (`bundle.probability`), and whether all are `calibrated`; `versions`: of the software; `weights_sha256`.

    Args:
        package: to be exported.
    """
    config = package.config
    findings, canvas = list(config["findings"]), config["image_size"]
    grid = list(package.network.grid)  # type: ignore[arg-type]
    shapes = ([len(findings), *grid], [len(findings)], [len(SCORE_NAMES), len(findings)])
    limits = (config.get(key) for key in ("points", "min_score", "min_image_score"))
    points = OperatingPoints(findings, *limits)
    facts: dict[str, Any] = {
        "name": config.get("algorithm_name", package.metadata["name"]),
        "version": config.get("algorithm_version", package.metadata["version"]),
        "notice": config.get("notice", package.metadata["intended_use"]),
        "findings": findings,
        "canvas": canvas,
        "grid": grid,
        "inputs": {INPUT: ["batch", 1, canvas, canvas]},
        "outputs": {name: ["batch", *shape] for name, shape in zip(OUTPUTS, shapes, strict=True)},
        "scores": list(SCORE_NAMES),
        "preprocessing": PREPROCESSING,
        "reading": ReadingOptions.of(config.get("reading")).of_grey_values(),
        "candidates": without_comments(config["candidates"]),
        "operating_points": points.document(),
        "calibrated": points.calibrated,
        "versions": versions(),
        "weights_sha256": file_sha256(package.weights),
    }
    if package.prompts is not None:
        texts = Prompts(findings, **without_comments(package.prompts)).texts()
        facts["prompts"] = dict(zip(findings, texts, strict=True))
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
