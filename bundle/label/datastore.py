"""MONAI Label's datastores, changed: they stay in their folder, never touch a radiograph, and lose no drawing."""

import json
import os
import re
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from bundle.atomic import write_file
from bundle.data.output_names import SUFFIXES
from bundle.fingerprint import file_sha256
from bundle.label import NAME
from bundle.label.drawn import DrawnError, drawn_entry, segment_findings
from bundle.label.masks import NOTED, counting, lay_beside, left_waiting, take_back, take_place
from bundle.label.paths import upload_suffix
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size
from bundle.reading.options import DEFAULT_OPTIONS, ReadingOptions
from bundle.reading.radiograph import read_radiograph

EXTENSIONS = [*(f"*{suffix}" for suffix in SUFFIXES), "*.nrrd", "*.mha"]
MASKS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")


def checked_name(name: str, what: str) -> str:
    """A name that may become part of a path.

    Raises:
        RefusedError: it may not.
    """
    if not NAME.fullmatch(name or ""):
        raise RefusedError(
            400, f"{what} must be a name of letters, digits and . - _ + = @ # ( ), not beginning with a dot"
        )
    return name


def kept_suffix(file: str, reading: ReadingOptions) -> str:
    """The suffix under which an upload may be kept, once it has been read.

    Raises:
        RadiographError: it is no radiograph.
        RefusedError: it is too large, or its suffix is of no radiograph.
    """
    check_size(file)
    _, meta = read_radiograph(file, reading)
    suffix = upload_suffix(Path(file).name)
    if re.fullmatch(r"(\.\d+)?", suffix) and meta["format"] == "DICOM":  # called by its UID, or without a suffix
        suffix = ".dcm"
    if f"*{suffix}" not in EXTENSIONS:
        wanted = ", ".join(each[1:] for each in EXTENSIONS)
        raise RefusedError(422, f"the file's name ends with {suffix[:20]!r}; wanted {wanted}, or none for DICOM")
    return suffix


class FolderDatastore(LocalDatastore):
    """A folder of links to radiographs (`bundle.label.studies`), uploaded radiographs, and what people drew.

    Drawn segments lie in `labels/final`, notes about them in datastore_v2.json. What was drawn stays known while its
    radiograph is away. MONAI Label's watching thread is not used: `refresh` finds what is new.

    Args:
        datastore_path: the folder.
        findings: what segments may be called.
        reading: with which the server reads.
        studies: the folder that links lead into; None has no links.
        more: of MONAI Label's datastore.
    """

    def __init__(
        self,
        datastore_path: str,
        findings: list[str],
        reading: ReadingOptions = DEFAULT_OPTIONS,
        studies: Path | None = None,
        **more: Any,
    ) -> None:
        self._findings, self._reading, self._studies = findings, reading, studies
        self._changing = threading.RLock()
        self._away: frozenset[str] = frozenset()
        super().__init__(datastore_path, auto_reload=False, **more)

    def _to_id(self, file: str) -> tuple[str, str]:
        suffix = max(
            (e[1:] for e in self._extensions if file.lower().endswith(e[1:])), key=len, default=Path(file).suffix
        )
        return file[: len(file) - len(suffix)], suffix

    def list_images(self) -> list[str]:
        """Names of the radiographs that are there."""
        return [image for image in self._datastore.objects if image not in self._away]

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Those that are there and drawn on."""
        return [image for image in super().get_labeled_images() if image not in self._away]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Those that are there and not drawn on."""
        return [image for image in super().get_unlabeled_images() if image not in self._away]

    def drawn_on(self) -> set[str]:
        """Names of all radiographs with labels, there or away."""
        return {image for image, known in self._datastore.objects.items() if known.labels}

    def get_image_uri(self, image_id: str) -> str:
        """The radiograph's path, its link not followed; "" if there is none.

        Raises:
            RefusedError: the file was in the studies when it was listed, and is a link now that leads out of them.
        """
        known = self._datastore.objects.get(image_id)
        if known is None:
            return ""
        path = Path(self._datastore.image_path()) / f"{image_id}{known.image.ext}"
        if self._studies and path.is_symlink() and not path.resolve().is_relative_to(self._studies.resolve()):
            raise RefusedError(403, "the radiograph is a link that leads out of the studies; put the file itself there")
        return str(path)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an uploaded radiograph.

        Raises:
            RadiographError: it is none.
            RefusedError: there is one of this name, or its suffix is of no radiograph.
        """
        checked_name(image_id, "image")
        image_info = _checked_image_info(image_info)
        suffix = kept_suffix(image_filename, self._reading)
        name = f"{image_id}{suffix}"
        image_id = self._to_id(name)[0]
        with self._changing:
            if image_id in self._datastore.objects:
                raise RefusedError(409, _THERE_IS)
            place = Path(self._datastore.image_path()) / name
            _copy_new(image_filename, place)
            info = {**image_info, "ts": int(time.time()), "name": name}
            try:
                self._commit(image_id, ImageLabelModel(image=DataModel(info=info, ext=suffix)))
            except BaseException:
                place.unlink()  # who is told that it failed may send it again under this name
                raise
        return image_id

    def remove_image(self, image_id: str) -> None:
        """Never."""
        raise RefusedError(403, "this server deletes no radiographs")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to the notes about a radiograph.

        Raises:
            RefusedError: they are not as MONAI Label reads them.
        """
        info = _checked_image_info(info)
        with self._changing:
            known = self._datastore.objects.get(image_id)
            if known is None:
                raise RefusedError(404, "there is no radiograph of this name")
            image = DataModel(info={**known.image.info, **info}, ext=known.image.ext)
            self._commit(image_id, ImageLabelModel(image=image, labels=known.labels))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Notes about a radiograph; its path is not the client's business."""
        notes: dict[str, Any] = super().get_image_info(image_id)
        notes.pop("path", None)
        return notes

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep what was drawn on a radiograph, if training can use it.

        Raises:
            RadiographError: the radiograph cannot be read.
            RefusedError: there is no such radiograph, or the mask or the notes cannot be used.
        """
        checked_name(label_tag, "tag")
        if image_id not in self._datastore.objects or image_id in self._away:
            raise RefusedError(404, "there is no radiograph of this name")
        suffix = self._to_id(Path(label_filename).name)[1].lower()
        if suffix not in MASKS:
            raise RefusedError(422, f"a label must be a mask in {', '.join(MASKS[:-1])} or {MASKS[-1]}")
        info = self._checked_notes(image_id, label_filename, label_info)
        mask = Path(self._datastore.label_path(label_tag)) / f"{image_id}{suffix}"
        info |= {"ts": int(time.time()), "name": mask.name, **self._marks(image_id)}
        with self._changing:
            info[NOTED] = lay_beside(Path(label_filename), mask)
            try:
                self._note_label(image_id, label_tag, DataModel(info=info, ext=suffix))
            except BaseException:
                take_back(mask, info[NOTED])
                raise
            take_place(mask, info, self._masks(image_id, label_tag))
        return image_id

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The path of the mask that its notes speak of; "" if there is none."""
        label = self._datastore.label(label_id, label_tag)
        folder = Path(self._datastore.label_path(label_tag))
        return str(counting(folder / f"{label_id}{label.ext}", label.info)) if label else ""

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to the notes about a label, if training can use it then.

        Raises:
            RefusedError: there is no such label, or it could not be used.
        """
        with self._changing:
            label = self._datastore.label(label_id, label_tag)
            if label is None:
                raise RefusedError(404, "there is no label of this name and tag")
            mask = self.get_label_uri(label_id, label_tag)
            notes = self._checked_notes(label_id, mask, {**label.info, **_object(info)})
            notes |= {key: label.info[key] for key in ("ts", "name", "image_sha256") if key in label.info}
            notes[NOTED] = file_sha256(mask)
            self._note_label(label_id, label_tag, DataModel(info=notes, ext=label.ext))

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete what was drawn.

        Raises:
            RefusedError: there is no such label.
        """
        checked_name(label_tag, "tag")
        with self._changing:
            if self._datastore.label(label_id, label_tag) is None:
                raise RefusedError(404, "there is no label of this name and tag")
            counts = Path(self.get_label_uri(label_id, label_tag))
            for mask in self._masks(label_id, label_tag):
                if mask != counts:
                    mask.unlink()
            counts.unlink(missing_ok=True)  # the last: without it the others would be masks of which nobody says what
            self.refresh()

    def _checked_notes(self, image_id: str, mask: str, info: dict[str, Any]) -> dict[str, Any]:
        """Notes about a mask that training can read; they always say which value is which finding."""
        info = dict(_object(info))
        try:
            names = segment_findings(info, self._findings)
            drawn_entry(self.get_image_uri(image_id), mask, info, self._findings, {}, self._reading)
        except DrawnError as error:
            raise RefusedError(422, str(error)) from error
        info["label_info"] = info.get("label_info") or [{"name": name, "idx": value} for value, name in names.items()]
        return info

    def _marks(self, image_id: str) -> dict[str, str]:
        """What tells, later, whether a radiograph is still the one that was drawn on."""
        return {"image_sha256": file_sha256(self.get_image_uri(image_id))}

    def _masks(self, image_id: str, tag: str) -> list[Path]:
        folder = Path(self._datastore.label_path(tag))
        files = folder.iterdir() if folder.is_dir() else ()
        return [file for file in files if self._known(file.name) and self._to_id(file.name)[0] == image_id]

    def _known(self, name: str) -> bool:
        return not name.startswith(".") and name.lower().endswith(tuple(each[1:] for each in self._extensions))

    def _reconcile_datastore(self) -> None:
        """Find what came and what went; what is drawn on a radiograph that is away stays."""
        with self._changing:
            self._init_from_datastore_file()
            known = self._datastore.objects
            folder = Path(self._datastore.image_path())
            files = {file.name for file in folder.iterdir() if self._known(file.name) and file.is_file()}
            there = {name: each.image.ext for name, each in known.items() if f"{name}{each.image.ext}" in files}
            for file in sorted(files):
                there.setdefault(*self._to_id(file))
            self._settle_masks()
            masks = self._all_masks()
            objects: dict[str, ImageLabelModel] = {}
            for image in dict.fromkeys([*known, *there]):
                entry = known.get(image) or ImageLabelModel(image=_new(image, there[image]))
                drawn = masks.get(image, {})
                labels = {tag: _kept(entry.labels.get(tag), image, suffixes) for tag, suffixes in drawn.items()}
                if image in there or labels:
                    same = labels == entry.labels
                    objects[image] = entry if same else ImageLabelModel(image=entry.image, labels=labels)
            self._away = frozenset(objects) - frozenset(there)
            if objects != known:
                self._replace_objects(objects)

    def _settle_masks(self) -> None:
        """End what a kill, or a disk that failed, interrupted: what notes speak of takes its place, the rest goes."""
        for folder in filter(Path.is_dir, Path(self._datastore.label_path(None)).iterdir()):
            for waiting in left_waiting(folder):
                image = self._to_id(waiting.name[14:])[0]
                if self.get_label_uri(image, folder.name) != str(waiting):
                    waiting.unlink()
                    continue
                label = self._datastore.objects[image].labels[folder.name]
                take_place(folder / waiting.name[14:], label.info, self._masks(image, folder.name))

    def _all_masks(self) -> dict[str, dict[str, list[str]]]:
        """Suffixes of the masks that are there, by name and tag."""
        masks: dict[str, dict[str, list[str]]] = {}
        for folder in filter(Path.is_dir, Path(self._datastore.label_path(None)).iterdir()):
            for file in filter(self._known, sorted(each.name for each in folder.iterdir())):
                name, suffix = self._to_id(file)
                masks.setdefault(name, {}).setdefault(folder.name, []).append(suffix)
        return masks

    def _note_label(self, image: str, tag: str, label: DataModel) -> None:
        known = self._datastore.objects[image]
        self._commit(image, ImageLabelModel(image=known.image, labels={**known.labels, tag: label}))

    def _commit(self, image: str, entry: ImageLabelModel) -> None:
        """Change what is known of one radiograph."""
        self._replace_objects({**self._datastore.objects, image: entry})

    def _replace_objects(self, objects: dict[str, ImageLabelModel]) -> None:
        """First on the disk, whole or not at all, then here; whoever goes through the old ones is not disturbed."""
        self._write(self._datastore.model_copy(update={"objects": objects}))
        self._datastore.objects = objects

    def _update_datastore_file(self, lock: bool = True) -> None:
        self._write(self._datastore)

    def _write(self, content: Any) -> None:
        with self._changing:
            write_file(
                self._datastore_config_path,
                json.dumps(content.model_dump(exclude={"base_path"}), indent=2, default=str),
            )
            self._config_ts = Path(self._datastore_config_path).stat().st_mtime


_THERE_IS = "there is a radiograph of this name; radiographs are never replaced"


def _new(name: str, suffix: str) -> DataModel:
    """Notes about a file that was found."""
    return DataModel(info={"ts": int(time.time()), "name": f"{name}{suffix}"}, ext=suffix)


def _kept(label: DataModel | None, name: str, suffixes: list[str]) -> DataModel:
    """A label's notes, new ones where its mask is not the one that they were written for."""
    return label if label is not None and label.ext in suffixes else _new(name, suffixes[0])


def _copy_new(source: str, place: Path) -> None:
    """Copy to a name that nothing has: neither a file nor a link, which would lead to the studies."""
    temporary = place.with_name(f".{uuid.uuid4().hex[:12]}")
    try:
        shutil.copyfile(source, temporary)
        os.link(temporary, place)
    except FileExistsError as error:
        raise RefusedError(409, _THERE_IS) from error
    finally:
        temporary.unlink(missing_ok=True)


def _object(info: Any) -> dict[str, Any]:
    """Notes, which must be a JSON object without NaN."""
    try:
        json.dumps(info, allow_nan=False)
    except ValueError as error:
        raise RefusedError(422, "params and info must be JSON; NaN and Infinity are none") from error
    if not isinstance(info, dict):
        raise RefusedError(422, "params and info must be a JSON object, such as {}")
    return info


def _checked_image_info(info: Any) -> dict[str, Any]:
    """Notes about a radiograph; under `strategy` MONAI Label notes when which strategy proposed it."""
    strategy = _object(info).get("strategy", {})
    if not isinstance(strategy, dict) or not all(isinstance(each, dict) for each in strategy.values()):
        raise RefusedError(422, "strategy must be an object of objects, as the server writes it")
    checked: dict[str, Any] = info
    return checked
