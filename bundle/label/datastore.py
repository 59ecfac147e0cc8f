"""MONAI Label's datastores with two changes: they stay in their folder, and they never touch a radiograph."""

import re
import shutil
from pathlib import Path
from typing import Any

from dicomweb_client import DICOMwebClient
from monailabel.datastore.local import LocalDatastore
from monailabel.datastore.utils.convert import binary_to_image
from monailabel.datastore.utils.dicom import dicom_web_download_series
from pydicom import Dataset

from bundle.data.output_names import SUFFIXES
from bundle.label.drawn import DrawnError, segment_findings
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size, upload_removed_on_error
from bundle.transforms.radiograph import read_radiograph

EXTENSIONS = [*(f"*{suffix}" for suffix in SUFFIXES), "*.nrrd", "*.mha"]
_NAME = re.compile(r"(?!\.)[\w.\-+=@#() ~]{1,200}")


def checked_name(name: str, what: str) -> str:
    """A name that may become part of a path.

    Raises:
        RefusedError: it may not.
    """
    if not _NAME.fullmatch(name or ""):
        raise RefusedError(
            400, f"{what} must be a name of letters, digits and . - _ + = @ # ( ), not beginning with a dot"
        )
    return name


class FolderDatastore(LocalDatastore):
    """A folder of links to radiographs (`bundle.label.studies`), uploaded radiographs, and what people drew.

    Drawn segments lie in `labels/final`, notes about them in datastore_v2.json.

    Args:
        datastore_path: the folder.
        findings: what segments may be called.
        more: of MONAI Label's datastore.
    """

    def __init__(self, datastore_path: str, findings: list[str], **more: Any) -> None:
        self._findings = findings
        super().__init__(datastore_path, **more)

    def _to_id(self, file: str) -> tuple[str, str]:
        suffix = max(
            (e[1:] for e in self._extensions if file.lower().endswith(e[1:])), key=len, default=Path(file).suffix
        )
        return file[: len(file) - len(suffix)], suffix

    def get_image_uri(self, image_id: str) -> str:
        """The radiograph's path, its link not followed; "" if there is none."""
        known = self._datastore.objects.get(image_id)
        return str(Path(self._datastore.image_path()) / f"{image_id}{known.image.ext}") if known else ""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an uploaded radiograph.

        Raises:
            RadiographError: it is none.
            RefusedError: there is one of this name.
        """
        with upload_removed_on_error(image_filename):
            checked_name(image_id, "image")
            check_size(image_filename)
            read_radiograph(image_filename)
            if image_id in self._datastore.objects:
                raise RefusedError(409, "there is a radiograph of this name; radiographs are never replaced")
        return str(super().add_image(image_id, image_filename, image_info))

    def remove_image(self, image_id: str) -> None:
        """Never."""
        raise RefusedError(403, "this server deletes no radiographs")

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep what was drawn on a radiograph.

        Raises:
            RefusedError: there is no such radiograph, or it is no file of a label mask.
        """
        with upload_removed_on_error(label_filename):
            checked_name(label_tag, "tag")
            try:
                segment_findings(label_info or {}, self._findings)
            except DrawnError as error:
                raise RefusedError(422, str(error)) from error
            if image_id not in self._datastore.objects:
                raise RefusedError(404, "there is no radiograph of this name")
            if not label_filename.lower().endswith((".nii.gz", ".nii", ".nrrd", ".mha", ".png")):
                raise RefusedError(422, "a label must be a mask in .nii.gz, .nii, .nrrd, .mha or .png")
        return str(super().save_label(image_id, label_filename, label_tag, label_info))


class ArchiveDatastore(FolderDatastore):
    """A DICOMweb archive: radiographs are fetched when they are asked for, and stay DICOM; labels stay on this server.

    As NIfTI, MONAI Label's way, a radiograph would lose its window, and MONOCHROME1 its polarity. DICOM SEG, in which
    MONAI Label would send labels to the archive, needs a geometry that CR and DX images do not state.

    Args:
        client: of the archive.
        datastore_path: folder for what is fetched and drawn.
        findings: what segments may be called.
        filters: searches for series, one after the other, such as {"Modality": "DX"}.
    """

    def __init__(
        self, client: DICOMwebClient, datastore_path: str, findings: list[str], filters: list[dict[str, Any]]
    ) -> None:
        self._client, self._filters = client, filters
        super().__init__(datastore_path, findings, extensions=EXTENSIONS, auto_reload=False)

    def list_images(self) -> list[str]:
        """Series Instance UIDs of the archive's radiographs."""
        found = [series for each in self._filters for series in self._client.search_for_series(search_filters=each)]
        return sorted({str(Dataset.from_json(series).SeriesInstanceUID) for series in found})

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Series on which nothing is drawn."""
        return sorted(set(self.list_images()) - set(self.get_labeled_images()))

    def get_image_uri(self, image_id: str) -> str:
        """The path of the radiograph's DICOM file, fetched if it is not here yet.

        Raises:
            RefusedError: there is no such series, or it is not one radiograph.
        """
        checked_name(image_id, "image")
        if image_id not in self._datastore.objects:
            if image_id not in self.list_images():
                raise RefusedError(404, "the archive has no such series of radiographs")
            folder = Path(self._datastore.image_path()) / "series" / image_id
            dicom_web_download_series(None, image_id, str(folder), self._client)
            files = list(folder.glob("*.dcm"))
            if len(files) != 1:
                shutil.rmtree(folder, ignore_errors=True)
                raise RefusedError(422, f"the series holds {len(files)} images; wanted one radiograph a series")
            link = folder.parents[1] / f"{image_id}.dcm"
            link.unlink(missing_ok=True)
            link.symlink_to(files[0])
            self.refresh()
        return super().get_image_uri(image_id)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep what was drawn; OHIF sends the bare values of the pixels.

        Raises:
            RefusedError: as `FolderDatastore`.
        """
        image = self.get_image_uri(image_id)
        if not label_filename.endswith(".bin"):
            return super().save_label(image_id, label_filename, label_tag, label_info)
        mask = binary_to_image(image, label_filename)
        try:
            return super().save_label(image_id, mask, label_tag, label_info)
        finally:
            Path(mask).unlink(missing_ok=True)
