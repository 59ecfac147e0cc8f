"""The MONAI Label application of this bundle: what `main.py` in an application folder imports."""

import json
import tempfile
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
from bundle.label.datastore import EXTENSIONS, ArchiveDatastore, FolderDatastore
from bundle.label.infer import RadiographInferTask
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size, inside, link_radiographs
from bundle.label.train import RadiographTrainTask
from bundle.label.uncertainty import UncertaintyStrategy
from bundle.reading.options import ReadingOptions

# what a request may set; all else that viewers send is theirs or would name paths and levels of the log
OPTIONS = ("show", "finding", "min_score", "min_image_score", "result_extension", "result_compress")
FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha")


class OneRadiographSessions(Sessions):
    """Sessions of one file each, because a radiograph is one."""

    def add_session(self, data_file: str, *more: Any, **named: Any) -> tuple[str, SessionInfo]:
        """Keep an upload for later requests.

        Raises:
            RefusedError: it is several files.
        """
        if Path(data_file).is_dir():
            raise RefusedError(422, "a session holds one radiograph, in one file")
        session: tuple[str, SessionInfo] = super().add_session(data_file, *more, **named)
        return session


class RadiographApp(MONAILabelApp):
    """One model, the bundle in `model/patch_clip` of the application folder.

    Args:
        app_dir: the application folder.
        studies: the server's folder of links, or the URL of a DICOMweb archive.
        conf: `originals`, the studies folder, `weights`, the file that the server was started with, and settings as
            MONAI Label's own applications have them.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.originals = Path(conf["originals"]) if conf.get("originals") else None
        self._refused: dict[str, tuple[int, int]] = {}
        self.model_folder = Path(app_dir) / "model" / MODEL
        config = json.loads((self.model_folder / "configs" / "inference.json").read_text(encoding="utf-8"))
        self.findings: list[str] = config["findings"]
        self.reading = ReadingOptions.of(config.get("reading"))
        super().__init__(
            app_dir, studies, conf, name="Patch-CLIP for chest radiographs", description="Findings, where they are"
        )

    def init_datastore(self) -> Datastore:
        """The folder of links, or the archive."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        reads = settings.MONAI_LABEL_DATASTORE_READ_ONLY  # the process that trains
        datastore = FolderDatastore(self.studies, self.findings, self.reading, extensions=EXTENSIONS, read_only=reads)
        if not reads:
            self._look_for_changes(datastore)
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
        uncertain = UncertaintyStrategy(self._look, lambda: weights.stat().st_mtime_ns)
        return {"uncertainty": uncertain, "first": First(), "random": Random()}

    def info(self) -> dict[str, Any]:
        """As MONAI Label's; new radiographs in the studies folder are found by it."""
        self._look_for_changes(self.datastore())
        content: dict[str, Any] = super().info()
        return content

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Look at one radiograph: a name in the studies, or a file that was uploaded.

        Raises:
            RefusedError: there is none, or an option is not offered.
            RadiographError: it cannot be read as one grey radiograph.
        """
        image = request.get("image")
        asked = {key: request[key] for key in OPTIONS if key in request}
        extension = asked.get("result_extension")
        if extension and extension not in FORMATS:
            raise RefusedError(400, f"result_extension can be {', '.join(FORMATS)}")
        if not isinstance(asked.get("result_compress", False), bool):
            raise RefusedError(400, "result_compress can be true or false")
        path = self._radiograph(image, datastore or self.datastore())
        check_size(path)
        answer: dict[str, Any] = super().infer({"model": request.get("model"), "image": path, **asked}, datastore)
        return answer

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The radiograph that a strategy proposes.

        Raises:
            RefusedError: there is no such strategy.
        """
        if request.get("strategy") not in list(self._strategies):
            raise RefusedError(404, f"strategy can be {', '.join(self._strategies)}")
        answer: dict[str, Any] = super().next_sample(request)
        return answer

    def _look(self, image: str) -> list[dict[str, Any]]:
        """The image scores of a radiograph of the studies."""
        request = {"model": MODEL, "image": image, "show": "boxes", "result_extension": ".nrrd"}
        answer = self.infer(request)
        Path(answer["file"]).unlink(missing_ok=True)
        prediction: list[dict[str, Any]] = answer["params"]["prediction"]
        return prediction

    def _radiograph(self, image: Any, datastore: Datastore) -> str:
        """The path of what a request names."""
        if not isinstance(image, str) or not image:
            raise RefusedError(400, "image must be the name of a radiograph in the studies")
        if Path(image).is_absolute():  # this request's upload, or a session; a client cannot know such a path
            allowed = (tempfile.gettempdir(), settings.MONAI_LABEL_SESSION_PATH)
            if not inside(image, *allowed) or not Path(image).is_file():
                raise RefusedError(404, "there is no radiograph of this name")
            return image
        path = str(datastore.get_image_uri(image))
        if not path or not Path(path).is_file():
            raise RefusedError(404, "there is no radiograph of this name")
        return path

    def _load_sessions(self, load: bool = False) -> Sessions | None:
        store, expiry = settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY
        return OneRadiographSessions(store, expiry) if load else None

    def _look_for_changes(self, datastore: FolderDatastore) -> None:
        if self.originals is not None:
            link_radiographs(self.originals, Path(self.studies), datastore.drawn_on(), self._refused)
            datastore.refresh()

    def _init_dicomweb_datastore(self) -> Datastore:
        """In place of MONAI Label's, which wants to download programs from the internet."""
        from monailabel.datastore.dicom import DICOMwebClientX

        client = DICOMwebClientX(
            url=self.studies,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        client.set_http_retry_params(retry=False)  # an archive that is away would hold up the server for minutes
        filters = [{"Modality": name} for name in self.conf["modalities"].split(",")]
        return ArchiveDatastore(client, settings.MONAI_LABEL_DICOMWEB_CACHE_PATH, self.findings, filters, self.reading)
