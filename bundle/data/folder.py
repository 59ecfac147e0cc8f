"""Which files of a folder may be radiographs, by their names and places: all that nothing speaks against."""

import os
from pathlib import Path

from bundle.data.output_names import DICOM_ENDINGS
from bundle.reading.radiograph_error import refusal

# What SaveFindingsd and SaveDicomResultsd write beside `<name>.json`, and how such a JSON begins.
_RESULTS = ("_overlay.png", "_map.nii.gz", *DICOM_ENDINGS.values(), ".json")
_FINDINGS_KEYS = (b'"note"', b'"frame"', b'"stored_size"')
# Where MONAI Label, MSD and nnU-Net keep what was drawn on images.
_DRAWN = frozenset({"labels", "labelstr", "labelsts", "masks"})


def folder_files(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, sorted.

    Without hidden ones, and without what inference wrote, which an output folder inside the input folder holds: files
    called as its results are, beside the JSON that it wrote about the same radiograph. Links to folders are among the
    files; they are not followed.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name) for name in (*names, *links) if not name.startswith(".")]
    return [path for path in sorted(found) if not _is_result(path)]


def refuse_by_place(path: Path, folder: Path) -> None:
    """Refuse what need not be opened: it is no file, or its name or place says that it is no radiograph.

    Args:
        path: one of `folder_files`.
        folder: the folder; only what lies below it speaks against a file.

    Raises:
        RadiographError: it is refused.
    """
    if path.is_dir():
        raise refusal(path, "this is a link to a folder", "Links are not followed: give that folder itself")
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise refusal(path, "this is a pipe, a socket or a device", "Wanted a file")
    if path.name.casefold() == "dicomdir":
        raise refusal(path, "this is called as an index of DICOM files is", "The files that it names are looked at")
    if drawn := _DRAWN.intersection(part.casefold() for part in path.relative_to(folder).parts[:-1]):
        found = f"it lies in a folder called {min(drawn)}, where drawings on radiographs are kept"
        raise refusal(path, found, "Move it, or give that folder itself, if it is a radiograph")


def _is_result(path: Path) -> bool:
    """Whether inference wrote it: a user's own radiograph may be called scan_sc.dcm or scan_overlay.png too."""
    ending = next((ending for ending in _RESULTS if path.name.endswith(ending)), None)
    if ending is None:
        return False
    try:
        with path.with_name(f"{path.name.removesuffix(ending)}.json").open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return all(key in start for key in _FINDINGS_KEYS)
