"""The one reader of radiographs: any supported file to one orientation, one polarity and one range."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bundle.reading.dicom_image import dicom_layout, read_dicom
from bundle.reading.dicom_start import dicom_start
from bundle.reading.flat import FLAT, hides_what_is_stored
from bundle.reading.frontal import blank, odd_shape
from bundle.reading.hdf5_file import hdf5_of
from bundle.reading.image_file import image_file_size, read_image_file
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.other_formats import LONGEST, other_format
from bundle.reading.pixel_hash import pixels_sha256
from bundle.reading.radiograph_error import RadiographError as RadiographError
from bundle.reading.radiograph_error import RadiographNotFoundError as RadiographNotFoundError
from bundle.reading.radiograph_error import UnknownFormatError, refusal

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]
T = TypeVar("T")

KNOWN_FORMATS = "Wanted DICOM, PNG, JPEG, TIFF, MetaImage (.mha, .mhd), NIfTI (.nii, .nii.gz) or FILE.h5/ARRAY/ROW"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # + is BigTIFF


@dataclass(frozen=True)
class Layout:
    """How a radiograph lies, as its header tells.

    Attributes:
        size: (H, W), the pixels that boxes are counted in.
        orientation: see `read_radiograph`, like the next.
        not_assessed: but for what only the pixels show.
    """

    size: tuple[int, int]
    orientation: int = 1
    not_assessed: str | None = None


def read_radiograph(
    path: PathLike, options: ReadingOptions = DEFAULT_OPTIONS, *, hash_pixels: bool = False
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Reads one grey radiograph as a radiologist sees it.

    The format is told from the content (NIfTI and MetaImage from the name, a place in an HDF5 file from the path): a
    DICOM file needs no extension. The grey values are those of `dicom_photometry.to_unit_range` and
    `image_file.read_image_file`; a NIfTI or MetaImage file is turned by its orientation as
    `image_orientation.plan_display` says, so that what ITK or MONAI Label writes from a DICOM file comes back like the
    DICOM file. Such a copy has lost the window and the polarity: MONOCHROME1 stays inverted there.

    Args:
        path: the file.
        options: choices that the file leaves open.
        hash_pixels: whether to hash the pixels: 2 ms a megapixel.

    Returns:
        The image, float32 (1, H, W), 0..1, row 0 at the top, column 0 at the left, bright = dense, C-contiguous; and
        its metadata, plain values without patient identifiers:

        - `filename_or_obj`: the path, as given.
        - `stored_size`: (H, W), the pixels that boxes are counted in: those of the image.
        - `orientation`: what brings these pixels upright, numbered as EXIF numbers orientations: 1 as they are, 2
          mirrored, ... (`Upright.of`). Only DICOM's Patient Orientation is left to be undone, because DICOM results
          refer to stored pixels; what TIFF and EXIF state is undone here.
        - `spacing`: (row, column) distance in mm, or None where unknown.
        - `spacing_source`: `PixelSpacing`, `ImagerPixelSpacing`, `NominalScannedPixelSpacing`, `affine` or None. No
          magnification is taken out.
        - `pixel_aspect`: row distance / column distance, from the spacing or, in DICOM, Pixel Aspect Ratio; 1 where
          unknown.
        - `photometric_interpretation`: of DICOM, else None.
        - `window`: what became 0..1, by its `kind`: `window` (`index`, `centre`, `width`, `function`), `voi_lut`
          (`index`, `bits`; `first`, where its sign had to be chosen; `low` and `high` of its outputs, where not all of
          their range is shown), `bits_stored`, `type_range`, `stated` (`low`, `high`) or `percentile` (also
          `percentiles`, and `logarithm` where the values' logarithm is shown).
        - `inverted`: whether bright and dark were exchanged.
        - `bits_stored`: of DICOM integers, else None.
        - `transfer_syntax`: the UID, of DICOM, else None.
        - `format`: DICOM, PNG, JPEG, TIFF, MetaImage, NIfTI or HDF5.
        - `affine`: 4x4 nested list, (column, row, 0, 1) -> mm, RAS+; a unit spacing where it is unknown.
        - `pixels_sha256`: of the stored values, where asked for: two files with another are not of one image.
        - `not_assessed`: why this is no frontal chest radiograph, by its header, shape or pixels (`frontal`), and so
          may get no score; None where nothing says so.
        - `notes`: where the file was understood otherwise than it says, or shows nothing; also logged as warnings.

    Raises:
        RadiographError: for a file that is not one complete grey image; it says what is wanted and how to mend it.
            With `flat` "refuse", also for one of which nothing is to be seen.
        RadiographNotFoundError: for a path without a file.
    """
    image, stored, metadata = _by_format(
        path,
        lambda file: read_dicom(file, options),
        lambda file, kind: read_image_file(file, kind, options),
    )
    if hash_pixels:
        metadata["pixels_sha256"] = pixels_sha256(stored)
    if hides_what_is_stored(image, stored):
        if options.flat == "refuse":
            remedy = 'State the reading#value_range that is meant, or let such images pass: reading#flat "note"'
            raise refusal(path, FLAT, remedy)
        metadata["notes"].append(FLAT)
    for note in metadata["notes"]:
        logger.warning("%s: %s", path, note)
    reason = metadata.get("not_assessed") or odd_shape(metadata["stored_size"]) or blank(image)
    metadata["not_assessed"] = reason if options.frontal == "require" else None
    return np.ascontiguousarray(image[np.newaxis]), {"filename_or_obj": os.fspath(path), **metadata}


def stored_size(path: PathLike, options: ReadingOptions = DEFAULT_OPTIONS) -> tuple[int, int]:
    """`look_at_header`'s (H, W)."""
    return look_at_header(path, options).size


def look_at_header(path: PathLike, options: ReadingOptions = DEFAULT_OPTIONS) -> Layout:
    """What a radiograph's header tells: a millisecond a file or less, and the header's refusals.

    Args:
        path: the file.
        options: with which it will be read: what they ask for must be there.

    Returns:
        How it lies, and whether it is assessed, as `read_radiograph` says them.

    Raises:
        RadiographError: for a file whose header shows that it cannot be read; colour in PNG, JPEG and TIFF, and
            damaged pixels, show only in `read_radiograph`.
        RadiographNotFoundError: for a path without a file.
    """
    return _layout(path, options)[0]


def check_radiograph(path: PathLike, options: ReadingOptions = DEFAULT_OPTIONS) -> Layout:
    """What a training needs to know of a radiograph before it: all that its header tells.

    Of PNG, JPEG, TIFF and MetaImage that are stored as colours, the pixels are read too: most are grey all the same,
    and one that is not would stop the training in its middle.

    Args:
        path: the file.
        options: with which it will be read.

    Returns:
        As `look_at_header`.

    Raises:
        RadiographError: for a file that cannot be read; damaged pixels show only in `read_radiograph`.
        RadiographNotFoundError: for a path without a file.
    """
    layout, is_grey = _layout(path, options)
    if not is_grey:
        read_radiograph(path, options)
    return layout


def _layout(path: PathLike, options: ReadingOptions) -> tuple[Layout, bool]:
    """What a header tells, and whether it tells that the file is grey."""

    def dicom(file: Path) -> tuple[Layout, bool]:
        return Layout(*dicom_layout(file, options)), True

    def other(file: Path, kind: str) -> tuple[Layout, bool]:
        size, is_grey = image_file_size(file, kind, options.isolated)
        return Layout(size), is_grey

    layout, is_grey = _by_format(path, dicom, other)
    reason = layout.not_assessed or odd_shape(layout.size)
    return replace(layout, not_assessed=reason if options.frontal == "require" else None), is_grey


def radiograph_format(path: PathLike) -> str:
    """DICOM, PNG, JPEG, TIFF, MetaImage, NIfTI or HDF5, mostly by a file's first bytes; whether it can be read is open.

    Raises:
        UnknownFormatError: it is no image, or of a format that nothing is known of.
        RadiographError: it is of a format that is known and not read, or cannot be opened.
        RadiographNotFoundError: for a path without a file.
    """
    return _by_format(path, lambda _: "DICOM", lambda _, kind: kind)


def _by_format(path: PathLike, dicom: Callable[[Path], T], other: Callable[[Path, str], T]) -> T:
    """Calls the reader of the file's format; what the operating system refuses is a RadiographError too."""
    file = Path(path)
    try:
        kind = _format_of(file)
        return dicom(file) if kind == "DICOM" else other(file, kind)
    except RadiographError:
        raise
    except FileNotFoundError as error:
        raise refusal(file, "there is no such file", "Check the path", RadiographNotFoundError) from error
    except IsADirectoryError as error:
        raise refusal(file, "this is a folder", "Wanted one image file: name the file in it") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refusal(file, f"the file cannot be read ({reason})", "Check its permissions and its disk") from error


def _format_of(path: Path) -> str:
    """The format, by the first bytes, or by the name where the format has no mark of its own there."""
    if hdf5_of(path) is not None:
        return "HDF5"
    with path.open("rb") as file:
        start = file.read(LONGEST)
    if not start:
        raise refusal(path, "the file is empty", "Copy or export it again")
    if dicom_start(start) is not None:
        return "DICOM"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(TIFF_STARTS):
        return "TIFF"
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return "NIfTI"
    if name.endswith((".mha", ".mhd")):
        return "MetaImage"
    if other := other_format(start):
        raise refusal(path, f"the file is {other[0]}", other[1])
    if name.endswith((".dcm", ".dicom", ".ima")):
        remedy = "It is damaged or misnamed: copy or export it again"
        raise refusal(path, "the file is not DICOM: neither a preamble nor an element stands at its start", remedy)
    raise refusal(path, "the file is no image of a known format", KNOWN_FORMATS, UnknownFormatError)
