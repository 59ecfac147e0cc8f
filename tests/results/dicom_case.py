"""One radiograph with a bright square, what a network could have found in it, and the programs that judge results."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundle.probability import OperatingPoints
from bundle.results.findings_file import findings_document
from tests.debian import path_of
from tests.tiny import write_dicom

FINDINGS = ["Effusion", "Mass", "Pneumothorax", "Rib notching"]
HEIGHT, WIDTH = 300, 200
LESION = (130, 60, 160, 90)  # x0, y0, x1, y1 in stored pixels; bright, and where the map of Mass is 1
NOTICE = "Not for clinical use; trained on simulated images."
# finding, score, peak, box. The boxes are of hundredths, and one ends at the image's last pixel.
CANDIDATES = [
    [1, 0.912345, 145.0, 75.0, 130.0, 60.0, 160.0, 90.0],
    [1, 0.75, 20.5, 30.5, 10.13, 20.27, 40.99, 50.01],
    [3, 0.66, 100.0, 250.0, 0.0, 200.5, WIDTH, HEIGHT],
    [1, 0.3, 50.0, 50.0, 40.0, 40.0, 60.0, 60.0],  # below the score that is shown
    [2, 0.95, 60.0, 60.0, 50.0, 50.0, 70.0, 70.0],  # of a finding that the image as a whole speaks against
]
SHOWN = {"Mass 1": CANDIDATES[0], "Mass 2": CANDIDATES[1], "Rib notching 1": CANDIDATES[2]}
PLAN = OperatingPoints(FINDINGS, {name: {"slope": 1.0, "offset": 0.0, "image": 0.5, "box": 0.5} for name in FINDINGS})
PATIENT = {"PatientName": "Secret^Name", "PatientID": "SECRET-ID", "PatientBirthDate": "19501231", "PatientSex": "F"}
UIDS = {"StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.4.5"}


def write_radiograph(path: Path, **tags: object) -> Path:
    """A DX image of 12 bits: grey, with the lesion; a study, a series and a patient."""
    pixels = np.full((HEIGHT, WIDTH), 400, np.uint16)
    pixels += np.arange(WIDTH, dtype=np.uint16)  # left is darker than right
    x0, y0, x1, y1 = LESION
    pixels[y0:y1, x0:x1] = 4000
    study = {"StudyDate": "20200102", "StudyTime": "030405.678", "StudyID": "7", "AccessionNumber": "SECRET-8"}
    return write_dicom(path, pixels, **{**PATIENT, **UIDS, **study, **tags})


def document(findings: list[str] = FINDINGS, **more: Any) -> dict[str, Any]:
    """What SaveFindingsd writes of it."""
    model = {"name": "Patch-CLIP", "version": "1.2.3"}
    scores = {"image": torch.tensor([0.25, 0.912345, 0.125, torch.nan][: len(findings)])}
    table = torch.tensor(CANDIDATES, dtype=torch.float64)
    return findings_document(findings, scores, table, (HEIGHT, WIDTH), None, note=NOTICE, model=model, **more)


def maps() -> np.ndarray:
    """(4, 150, 100): Mass is 1 on the lesion; the rightmost tenth has not been looked at."""
    values = np.zeros((len(FINDINGS), HEIGHT // 2, WIDTH // 2), np.float32)
    x0, y0, x1, y1 = (n // 2 for n in LESION)
    values[1, y0:y1, x0:x1] = 1
    values[:, :, 90:] = np.nan
    return values


def program(name: str, *arguments: str | Path) -> str:
    """What a program of Debian's dicom3tools or dcmtk prints; without it, the test is skipped."""
    command = [path_of(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    return done.stdout + done.stderr


def errors(report: str) -> list[str]:
    """The errors in a report of dciodvfy or dcentvfy."""
    return [
        line for line in report.splitlines() if line.startswith(("Error", "Abort", "(0x")) and "Warning" not in line
    ]
