"""Writes what was found in a DICOM radiograph as DICOM objects, from what SaveFindingsd has just written."""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.output_names import OutputNames

logger = logging.getLogger(__name__)


class SaveDicomResultsd(MapTransform):
    """Writes `<name>_sr.dcm`, `<name>_gsps.dcm` and `<name>_sc.dcm` beside `<name>.json`; the sample passes unchanged.

    Stands behind `SaveFindingsd`, with the same `output_dir`, `inputs` and `anonymous_names`, and reads the
    JSON and the map that it wrote: `scripts.dicom_results` makes the same objects from them later. A file that no
    DICOM result can refer to (a PNG, or a DICOM file without a study) gets none, and neither does one that was not
    assessed; a warning says why, and the run goes on.

    Args:
        keys: looked up in the sample, as MONAI wants it; nothing is read from there.
        output_dir: of `SaveFindingsd`.
        deterministic: as `DicomOptions`; which candidates are shown stands in the JSON.
        codes: see there; None has the built-in ones.
        inputs: as `SaveFindingsd`, like all that follow.
        image_key: see there.
        anonymous_names: see there.

    Raises:
        FileNotFoundError: on call, `SaveFindingsd` has written nothing about the file.
        ValueError: on call, image and findings do not belong together.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        output_dir: str | os.PathLike[str] = "eval/inference",
        deterministic: bool = False,
        codes: Mapping[str, Sequence[str]] | None = None,
        inputs: Sequence[Any] | None = None,
        image_key: str = "image",
        anonymous_names: bool = False,
    ) -> None:
        from bundle.results.dicom import DicomOptions  # a second to load: only for those who write DICOM

        super().__init__(keys)
        self.output_dir, self.image_key = Path(output_dir), image_key
        self.options = DicomOptions(deterministic=deterministic, codes=dict(codes or {}))
        self._name = OutputNames(inputs, image_key, anonymous_names, "SaveDicomResultsd")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        from bundle.results.dicom import (
            DicomSourceError,
            NotAssessedError,
            dicom_results,
            read_findings,
            save_dicom_results,
        )

        file = str(getattr(data[self.image_key], "meta", {}).get("filename_or_obj", ""))
        if not file:
            raise ValueError(
                f"SaveDicomResultsd: {self.image_key!r} has no `filename_or_obj`; load it by LoadRadiographd"
            )
        name = self._name(file)
        findings = self.output_dir / f"{name}.json"
        if not findings.is_file():
            raise FileNotFoundError(f"SaveDicomResultsd: there is no {findings}; put SaveFindingsd before it")
        document, maps = read_findings(findings)
        try:
            results = dicom_results(file, document, maps, self.options)
        except (DicomSourceError, NotAssessedError) as error:
            logger.warning("No DICOM results: %s", error)
        else:
            save_dicom_results(results, self.output_dir, name)
        return dict(data)
