"""The MONAI Label application of this bundle: what `main.py` in an application folder imports."""

import json
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.others.generic import strtobool
from monailabel.utils.sessions import SessionInfo, Sessions

from bundle.label import MODEL
from bundle.label.archive import Archive, ArchiveDatastore
from bundle.label.changes import Changes
from bundle.label.datastore import EXTENSIONS, FolderDatastore, kept_suffix
from bundle.label.infer import RadiographInferTask
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size
from bundle.label.train import RadiographTrainTask
from bundle.label.uncertainty import UncertaintyStrategy
from bundle.reading.options import ReadingOptions
from bundle.watch import Watch

CLEANED = 300.0  # seconds between two looks for sessions whose time is over


class RadiographSessions(Sessions):
    """Sessions of one radiograph each, under names that nobody can guess.

    Args:
        reading: with which the server reads.
        more: of MONAI Label's sessions.
    """

    def __init__(self, reading: ReadingOptions, *more: Any) -> None:
        super().__init__(*more)
        self._reading = reading

    def add_session(self, data_file: str, *more: Any, **named: Any) -> tuple[str, SessionInfo]:
        """Keep an upload for later requests.

        Raises:
            RadiographError: it is no radiograph.
            RefusedError: it is too large, or its suffix is of no radiograph.
        """
        file = Path(data_file)
        file = file.rename(file.with_name(f"radiograph{kept_suffix(data_file, self._reading)}"))
        session: tuple[str, SessionInfo] = super().add_session(str(file), session_id=uuid.uuid4().hex)
        return session

    def remove_expired(self) -> int:
        """Remove those that nobody has used for an hour (`expiry`), also what a kill or a full disk left of one.

        MONAI Label's own reads their notes, and fails over one that has none.

        Returns:
            How many.
        """
        count = 0
        for folder in filter(Path.is_dir, Path(self.store_path).glob("*")):
            with suppress(FileNotFoundError):  # it goes at this moment
                used = max(
                    each.stat().st_mtime for each in (folder, *folder.iterdir())
                )  # notes are written at each use
                if time.time() - used > self.expiry:
                    self.remove_session(folder.name)
                    count += 1
        return count


class RadiographApp(MONAILabelApp):
    """One model, the bundle in `model/patch_clip` of the application folder.

    Args:
        app_dir: the application folder.
        studies: the server's folder of links, or the URL of a DICOMweb archive.
        conf: `originals`, the studies folder, `weights`, the file that the server was started with, and settings as
            MONAI Label's own applications have them; of an archive `modalities`, and `max_bytes` of one answer.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.originals = Path(conf["originals"]) if conf.get("originals") else None
        self.archive: Archive | None = None
        self._changes: Changes | None = None
        self._looking = ThreadPoolExecutor(1)
        self.model_folder = Path(app_dir) / "model" / MODEL
        config = json.loads((self.model_folder / "configs" / "inference.json").read_text(encoding="utf-8"))
        self.findings: list[str] = config["findings"]
        self.reading = ReadingOptions.of(config.get("reading"))
        super().__init__(
            app_dir, studies, conf, name="Patch-CLIP for chest radiographs", description="Findings, where they are"
        )

    def keep_sessions_short(self, watch: Watch) -> None:
        """Remove sessions whose time is over, from now on.

        Args:
            watch: ends the server if that ends: radiographs of patients would stay.
        """

        def clean() -> None:
            while not watch.over.is_set():
                self._sessions.remove_expired()  # MONAI Label's own does nothing until this server has one
                watch.over.wait(CLEANED)

        watch.start(clean, "sessions")

    def init_datastore(self) -> Datastore:
        """The folder of links, or the archive."""
        if self.studies.startswith(("http://", "https://")):
            self.archive = Archive(self.studies, int(self.conf["max_bytes"]))
            filters = [{"Modality": name} for name in self.conf["modalities"].split(",")]
            cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH
            return ArchiveDatastore(self.archive, cache, self.findings, filters, self.reading)
        reads = settings.MONAI_LABEL_DATASTORE_READ_ONLY  # the process that trains
        datastore = FolderDatastore(
            self.studies, self.findings, self.reading, self.originals, extensions=EXTENSIONS, read_only=reads
        )
        if not reads and self.originals is not None:
            self._changes = Changes(self.originals, Path(self.studies), Path(self.app_dir).parent)
            self._changes.find(datastore)
        return datastore

    def init_infers(self) -> dict[str, InferTask]:
        """The one model."""
        return {MODEL: RadiographInferTask(str(self.model_folder), self.conf, self.findings)}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Training on what was drawn."""
        if strtobool(self.conf.get("skip_trainers", "false")):
            return {}
        work = Path(self.app_dir).parent / "training"
        return {MODEL: RadiographTrainTask(self.model_folder, Path(self.conf["weights"]), work, self.originals)}

    def init_strategies(self) -> dict[str, Strategy]:
        """The most uncertain radiograph, the first, or any."""
        weights = self.model_folder / "models" / "model.pt"
        uncertain = UncertaintyStrategy(self._prediction, lambda: weights.stat().st_mtime_ns)
        return {"uncertainty": uncertain, "first": First(), "random": Random()}

    def info(self) -> dict[str, Any]:
        """As MONAI Label's; new radiographs in the studies folder are found by it."""
        if self._changes is not None:
            self._changes.find(self.datastore())
        content: dict[str, Any] = super().info()
        return content

    def radiograph(self, image: str) -> str:
        """The path of a radiograph of the studies; an archive's is fetched if it is not here yet.

        Raises:
            RefusedError: there is none of this name.
        """
        path = str(self.datastore().get_image_uri(image))
        if not path or not Path(path).is_file():
            raise RefusedError(404, "there is no radiograph of this name")
        return path

    def look(self, radiograph: str, folder: str, options: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        """Look at one radiograph; one is looked at after the other, in a thread that keeps PyTorch's own threads.

        Args:
            radiograph: its path.
            folder: for the mask or map.
            options: as `bundle.label.routes.INFER` takes them.

        Returns:
            The mask's or map's path, and everything found.

        Raises:
            RadiographError: it cannot be read as one grey radiograph.
            RefusedError: it is too large.
            RequestError: an option asks for what there is not.
        """
        check_size(radiograph)
        request = {**options, "image": radiograph, "folder": folder}
        file, found = self._looking.submit(self._infers[MODEL], request).result()
        return Path(file), found

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The radiograph that a strategy proposes.

        Raises:
            RefusedError: there is no such strategy.
        """
        if request.get("strategy") not in list(self._strategies):
            raise RefusedError(404, f"strategy can be {', '.join(self._strategies)}")
        answer: dict[str, Any] = super().next_sample(request)
        answer.pop("path", None)
        return answer

    def _prediction(self, image: str) -> list[dict[str, Any]]:
        """The image scores of a radiograph of the studies."""
        with tempfile.TemporaryDirectory() as folder:
            _, found = self.look(self.radiograph(image), folder, {"show": "boxes", "result_extension": ".nrrd"})
        prediction: list[dict[str, Any]] = found["prediction"]
        return prediction

    def _load_sessions(self, load: bool = False) -> Sessions | None:
        store, expiry = settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY
        return RadiographSessions(self.reading, store, expiry) if load else None
