"""The untouched projection of a CT with its real lesion, as a DICOM file and what is known of it."""

from pathlib import Path
from typing import Any

from pydicom.uid import generate_uid

from bundle.atomic import atomic_path, write_json
from bundle.data.demo.dicom import to_dicom
from bundle.data.demo.real_case import EXPOSURE, real_case
from bundle.data.demo.simulate import Radiograph
from bundle.data.demo.subjects import DISTRIBUTION, NAMES, Subject

_WHAT = (
    "Parallel projection of the untouched chest CT {ct}, with a lesion that is really there; no radiograph, not for "
    "clinical use."
)


def write_real_case(subject: Subject, folder: Path) -> tuple[Path, Path]:
    """Write ``images/NAME.dcm``, a folder of radiographs for inference, and ``truth.json`` beside that folder.

    The image says what it is; nobody's age, sex, dates or identity is in it.

    Args:
        subject: whose CT.
        folder: made where missing.

    Returns:
        The image, and the truth: anatomy, finding, boxes [x0, y0, x1, y1] in pixels of the image, pixel_mm, version.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: see :func:`~bundle.data.demo.real_case.real_case`.
    """
    case = real_case(subject)
    radiograph = Radiograph(
        pixels=case.pixels,
        pixel_mm=case.pixel_mm,
        photometric="MONOCHROME2",
        window=(EXPOSURE.black + 0.5 * EXPOSURE.span, EXPOSURE.span),
        labels={case.finding: 1},
        boxes=[],
        masks=[],
        report="",
        summary="",
        sex="",
        age=0,
        site="projection",
        vendor="Projection of a CT",
        seed=NAMES.index(subject.name),
        anatomy=subject.name,
    )
    data = to_dicom(radiograph, "real")
    data.PatientName, data.PatientID, data.PatientAge = f"Projection^{subject.name}", f"CT-{subject.name}", ""
    data.AccessionNumber = data.StudyID = ""
    data.StudyDescription, data.SeriesDescription = "Projection of a CT, PA", "Untouched, with its real lesion"
    ct = "LIDC-IDRI-0001 (CC BY 3.0)" if subject.name == NAMES[0] else f"{subject.name} of {DISTRIBUTION}"
    data.ImageComments = data.DerivationDescription = _WHAT.format(ct=ct)
    study, series, image = (generate_uid(entropy_srcs=["real case", subject.name, part]) for part in "123")
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = study, series, image
    data.file_meta.MediaStorageSOPInstanceUID = image
    path, truth = folder / "images" / f"{subject.name}.dcm", folder / "truth.json"
    with atomic_path(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
    content: dict[str, Any] = {
        "anatomy": subject.name,
        "finding": case.finding,
        "boxes": [list(box) for box in case.boxes],
        "pixel_mm": case.pixel_mm,
    }
    write_json(truth, content)
    return path, truth
