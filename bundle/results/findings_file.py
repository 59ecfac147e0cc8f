"""What inference leaves about one radiograph: findings as JSON, maps as NIfTI."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.atomic import atomic_path
from bundle.metrics.candidate_tables import BOX, COLUMNS, FINDING, PEAK, SCORE
from bundle.probability import OperatingPoints
from bundle.reading.decode_worker import DecodingError
from bundle.reading.options import ReadingOptions
from bundle.reading.picture_decoder import gdcm_place
from bundle.results.shown import image_scores, rows_of

logger = logging.getLogger(__name__)

NOT_CLINICAL = "Research software, not for clinical use."
CALIBRATED = "calibrated on validation images; scores of candidates are not"
UNCALIBRATED = "uncalibrated: scores order images and candidates, and are no probabilities"


def findings_document(
    findings: Sequence[str],
    scores: Mapping[str, Any],
    candidates: ArrayLike,
    stored_size: tuple[int, int],
    spacing: tuple[float, float] | None,
    note: str = NOT_CLINICAL,
    not_assessed: str | None = None,
    points: OperatingPoints | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the network found in one radiograph, as plain values; nothing that identifies a patient.

    Args:
        findings: names of the K findings, in the network's order.
        scores: (K,) probabilities by name; NaN, where a score is absent, becomes null.
        candidates: (M, 8) table, columns of `bundle.metrics.candidate_tables.COLUMNS`.
        stored_size: (H, W).
        spacing: (row, column) distance in mm, or None where unknown.
        note: what the findings are not to be used for.
        not_assessed: why the image is no frontal chest radiograph (`read_radiograph`): then neither scores nor
            candidates go in, whatever the network made of it.
        points: that say which candidates are shown; None takes the defaults.
        more: further entries, put last.

    Returns:
        A dictionary that JSON can hold.

    Raises:
        ValueError: where a score or candidate does not fit the findings.
    """
    for name, values in scores.items():
        if tuple(values.shape) != (len(findings),):
            raise ValueError(f"score {name!r} must be ({len(findings)},), one per finding, got {tuple(values.shape)}")
    table = np.asarray(candidates, np.float64).reshape(-1, len(COLUMNS))
    if len(table) and not 0 <= table[:, FINDING].min() <= table[:, FINDING].max() < len(findings):
        raise ValueError(f"a candidate's finding is outside 0..{len(findings) - 1}")
    table = table[np.argsort(-table[:, SCORE], kind="stable")]
    points = points or OperatingPoints(findings)
    probability = image_scores(scores, len(findings))
    rows = set(rows_of(points, table, probability))
    presence = points.presence(probability)
    if not_assessed:
        findings, table = (), table[:0]
    return {
        "note": note,
        "frame": "pixels of the stored image, x right, y down; box [x0, y0, x1, y1] with x1 and y1 exclusive",
        "stored_size": {"height": int(stored_size[0]), "width": int(stored_size[1])},
        "spacing_mm": None if spacing is None else {"row": _number(spacing[0]), "column": _number(spacing[1])},
        "not_assessed": not_assessed,
        "findings": {
            finding: {name: _number(float(values[k])) for name, values in scores.items()}
            for k, finding in enumerate(findings)
        },
        "presence": {} if not_assessed else presence,
        "candidates": [
            {
                "finding": findings[int(row[FINDING])],
                "score": _number(row[SCORE]),
                "peak": [round(value, 2) for value in row[PEAK].tolist()],
                "box": [round(value, 2) for value in row[BOX].tolist()],
                "shown": place in rows,
            }
            for place, row in enumerate(table)
        ],
        "probability": None if not_assessed else CALIBRATED if points.calibrated else UNCALIBRATED,
        "operating_points": {} if not_assessed else points.document(),
        **more,
    }


def reading_document(meta: Mapping[str, Any], options: ReadingOptions | None = None) -> dict[str, Any]:
    """How a radiograph was read, as plain values: what of it became grey, and the notes of its reader.

    Args:
        meta: its metadata, from `read_radiograph`.
        options: with which it was read, and is read again by who needs its pixels; None leaves them out.

    Returns:
        A dictionary that JSON can hold; with a hash of the stored pixels, by which `scripts.dicom_results` knows the
        image again, where the metadata have one.
    """
    keys = ("format", "photometric_interpretation", "inverted", "window", "spacing_source", "notes", "pixels_sha256")
    chosen = {} if options is None else {"options": options.of_grey_values()}
    return {key: meta[key] for key in keys if key in meta} | chosen


def viewer_affine(path: str | Path, meta: Mapping[str, Any]) -> NDArray[np.float64]:
    """The place that ITK, and with it 3D Slicer, gives a radiograph, so that maps can be given the same.

    For DICOM it is asked of GDCM, as ITK asks it. It may differ from the spacing in mm that `read_radiograph` states:
    for CR and DX images ITK takes ImagerPixelSpacing, and 1 where that is absent, whatever PixelSpacing says. Other
    formats lie where their own affine says, and so does a DICOM file that ITK does not read (one with float pixels,
    say).

    Args:
        path: the radiograph.
        meta: its metadata, from `read_radiograph`.

    Returns:
        4x4, (column, row, 0, 1) of the stored image -> mm, RAS+.
    """
    own = np.asarray(meta["affine"], np.float64)
    if meta["format"] != "DICOM":
        return own
    try:
        lps = gdcm_place(Path(path))
    except DecodingError:  # viewers on ITK do not show such a file either: its own spacing is all there is to go by
        logger.warning("ITK does not read a DICOM file that is read here: its maps lie where its own spacing says.")
        return own
    if not np.isfinite(lps).all() or np.linalg.det(lps[:3, :3]) == 0:  # no NIfTI file can hold it
        return own
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def write_maps(
    path: str | Path,
    maps: ArrayLike,
    affine: ArrayLike,
    stored_size: tuple[int, int],
    known_spacing: bool = True,
) -> None:
    """Write maps as NIfTI so that ITK and 3D Slicer lay them over the radiograph.

    The array is float32 (w, h, 1, K): x to the right, y down, one slice, and the findings along the fourth axis, in the
    network's order. NaN, where the network has not looked, stays NaN. The affine is the radiograph's
    (`viewer_affine`); where the maps have fewer pixels it is scaled, so that both cover the same place.

    Args:
        path: ends in .nii or .nii.gz; written atomically.
        maps: (K, h, w), covering the whole image.
        affine: 4x4, (column, row, 0, 1) of the stored image -> mm, RAS+.
        stored_size: (H, W).
        known_spacing: whether the affine's unit is mm; otherwise the file says that its unit is unknown.
    """
    values = np.asarray(maps, np.float32)
    h, w = values.shape[1:]
    sx, sy = stored_size[1] / w, stored_size[0] / h
    # NIfTI counts pixel centres: the first centre of the small grid lies (s − 1) / 2 stored pixels from the stored one
    small = np.array([[sx, 0, 0, (sx - 1) / 2], [0, sy, 0, (sy - 1) / 2], [0, 0, 1, 0], [0, 0, 0, 1]])
    data = np.ascontiguousarray(values.transpose(2, 1, 0)[:, :, None, :])  # (w, h, 1, K)
    image = nibabel.Nifti1Image(data, np.asarray(affine, np.float64) @ small)
    image.header.set_xyzt_units("mm" if known_spacing else "unknown")
    image.header["descrip"] = b"patch probabilities, one finding per volume"
    with atomic_path(path) as temporary:
        nibabel.save(image, temporary)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)
