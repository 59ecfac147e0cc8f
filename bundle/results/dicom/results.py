"""All DICOM results about one radiograph, from its image and from what was found in it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from bundle.atomic import atomic_path
from bundle.data.output_names import DICOM_ENDINGS
from bundle.probability import MAX_PER_FINDING
from bundle.reading.options import ReadingOptions
from bundle.results.dicom.instance import Maker
from bundle.results.dicom.presentation_state import presentation_state
from bundle.results.dicom.same_image import refuse_another_image
from bundle.results.dicom.secondary_capture import secondary_capture
from bundle.results.dicom.shown import operating_points, shown_candidates
from bundle.results.dicom.source import DicomSource, quiet_pydicom, read_source
from bundle.results.dicom.structured_report import structured_report
from bundle.results.findings_file import UNCALIBRATED


@dataclass(frozen=True)
class DicomOptions:
    """What DICOM results hold, and how they are made.

    Attributes:
        min_score: the lowest score of a candidate that is shown; also where the map's tint and contours begin. None
            takes each finding's own, which the document names.
        min_image_score: findings with a lower image score have no candidates shown; None likewise.
        max_per_finding: the most candidates shown of one finding.
        deterministic: whether equal input gives equal UIDs, derived from the image with its patient and study, the
            findings, the maps and these options. Results made twice are then one and the same to an archive, which may
            refuse or replace the second; made of the same document, they are the same bytes.
        codes: codes of findings, name -> (value, scheme designator, meaning); see `finding_code`.
    """

    min_score: float | None = None
    min_image_score: float | None = None
    max_per_finding: int = MAX_PER_FINDING
    deterministic: bool = False
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class DicomResults:
    """The objects, each with its file meta information, ready to be written or sent.

    Attributes:
        sr: scores and boxes (Comprehensive 3D SR, TID 1500).
        gsps: boxes and contours over the original (Grayscale Softcopy Presentation State).
        sc: the picture (Secondary Capture).
    """

    sr: Dataset
    gsps: Dataset
    sc: Dataset

    def by_kind(self) -> dict[str, Dataset]:
        """sr, gsps and sc by these names."""
        return {"sr": self.sr, "gsps": self.gsps, "sc": self.sc}


class NotAssessedError(ValueError):
    """An image was not assessed: there is no DICOM result, because an empty report would be taken for a normal one."""


@quiet_pydicom()
def dicom_results(
    image: str | Path,
    document: Mapping[str, Any],
    maps: npt.NDArray[np.floating[Any]] | None = None,
    options: DicomOptions | None = None,
) -> DicomResults:
    """Build the three results.

    Algorithm, version and notice are the document's (`model`, `note`), and so are the options with which the image is
    read again (`reading`) and the results' date (`analysed`; the clock's in one of an earlier release). Thresholds of
    the options' own judge nothing: then no finding is said to be present or absent.

    Args:
        image: the DICOM file that was looked at.
        document: what was found in it (`bundle.results.findings_file.findings_document`).
        maps: (K, h, w) over the whole image, NaN where the network has not looked; None where there are none.
        options: None takes the defaults.

    Returns:
        The results.

    Raises:
        DicomSourceError: the image cannot be referred to.
        RadiographError: it is not one grey image.
        NotAssessedError: by the document, it is no frontal chest radiograph.
        ValueError: image, document and maps do not belong together.
    """
    options = options or DicomOptions()
    if reason := document.get("not_assessed"):
        raise NotAssessedError(f"{image}: not assessed: {reason}")
    source = read_source(image, ReadingOptions.of(document.get("reading", {}).get("options")))
    refuse_another_image(image, source, document)
    if maps is not None and (maps.ndim != 3 or len(maps) != len(document["findings"])):
        raise ValueError(
            f"{image}: the maps are {maps.shape}; wanted ({len(document['findings'])}, h, w), one a finding"
        )
    points = operating_points(document, options.min_score, options.min_image_score, options.max_per_finding)
    own = (options.min_score, options.min_image_score, options.max_per_finding) == (None, None, MAX_PER_FINDING)
    shown = shown_candidates(document, None if own else points)
    if not shown and all(scores.get("image") is None for scores in document["findings"].values()):
        raise ValueError(f"{image}: nothing to report: no candidate is shown, and no finding has an image score")
    if (options.min_score, options.min_image_score) != (None, None):
        document = {**document, "presence": {}}
    model, analysed = document.get("model", {}), document.get("analysed")
    maker = Maker(
        algorithm=str(model.get("name", "Patch-CLIP")),
        version=str(model.get("version", "unknown")),
        notice=str(document["note"]),
        moment=datetime.fromisoformat(analysed) if analysed else datetime.now(),
        entropy=_entropy(source, document, maps, options) if options.deterministic else (),
    )
    parameters = [
        *(
            f"{name}: candidates with a score of {point.box:g} or more, at most {points.max_per_finding}, where the "
            f"image score is {point.image:g} or more"
            for name, point in zip(points.findings, points.points, strict=True)
        ),
        str(document.get("probability", UNCALIBRATED)),
        maker.notice,
    ]
    lowest = dict(zip(points.findings, points.box.tolist(), strict=True))
    return DicomResults(
        sr=structured_report(source, document, shown, maker, parameters, options.codes),
        gsps=presentation_state(source, document, shown, maker, maps, lowest),
        sc=secondary_capture(source, document, shown, maker, maps, lowest),
    )


@quiet_pydicom()
def save_dicom_results(results: DicomResults, folder: str | Path, name: str) -> list[Path]:
    """Write `<name>_sr.dcm`, `<name>_gsps.dcm` and `<name>_sc.dcm`, each atomically.

    Args:
        results: to write.
        folder: made if missing.
        name: may hold "/" for subfolders (`bundle.data.output_names`).

    Returns:
        The files.
    """
    paths = []
    for kind, dataset in results.by_kind().items():
        path = Path(folder) / f"{name}{DICOM_ENDINGS[kind]}"
        with atomic_path(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
        paths.append(path)
    return paths


def read_findings(path: str | Path) -> tuple[dict[str, Any], npt.NDArray[np.float32] | None]:
    """What `SaveFindingsd` wrote about one radiograph.

    Args:
        path: the JSON; its map, if it names one, lies beside it.

    Returns:
        The document, and the maps (K, h, w), None where it names none.

    Raises:
        ValueError: the file holds something else.
    """
    path = Path(path)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    missing = [key for key in ("note", "stored_size", "findings", "candidates") if key not in document]
    if missing:
        raise ValueError(f"{path}: no {', '.join(missing)} in it; wanted a JSON file that inference wrote")
    if "map" not in document:
        return document, None
    volumes = np.asarray(nibabel.load(path.parent / document["map"]["file"]).dataobj, np.float32)  # (w, h, 1, K)
    return document, np.ascontiguousarray(volumes[:, :, 0].transpose(2, 1, 0))


def _entropy(
    source: DicomSource,
    document: Mapping[str, Any],
    maps: npt.NDArray[np.floating[Any]] | None,
    options: DicomOptions,
) -> tuple[str, ...]:
    """All that results depend on, as text; of the patient, the study and the pixels only a hash."""
    of_image = [_elements(source.header), _elements(source.identity), str(source.characters)]
    of_image += [str(source.meta["window"]), str(source.meta["inverted"]), str(source.pixel_aspect)]
    of_image += [_sha256(source.image.tobytes())]
    seen = "" if maps is None else _sha256(np.ascontiguousarray(maps, np.float32).tobytes())
    found = {key: value for key, value in document.items() if key != "analysed"}
    return _sha256("\n".join(of_image).encode()), json.dumps(found, sort_keys=True), seen, repr(options)


def _elements(dataset: Dataset) -> str:
    """All elements, those within sequences too, as text."""
    return "\n".join(
        f"{element.tag} {element.VR} {len(element.value) if element.VR == 'SQ' else repr(element.value)}"
        for element in dataset.iterall()
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
