"""Training as MONAI Label starts it, in a process of its own: on what people drew, from the weights that are served."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import monai.bundle
import torch
from filelock import FileLock, Timeout
from monai.bundle import ConfigParser
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask

from bundle.atomic import write_json
from bundle.checkpoints import save_atomically
from bundle.fingerprint import file_sha256
from bundle.label.drawn import DrawnError, check_submitted, drawn_entry, known_entries
from bundle.label.refusal import RefusedError
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError

logger = logging.getLogger(__name__)

OVERLAY = Path(__file__).resolve().parents[2] / "configs" / "label_training.json"


class RadiographTrainTask(TrainTask):
    """Makes a datalist of all that was drawn, trains, and puts the new weights where inference reads them.

    Args:
        model: the bundle in the application folder; its `models/model.pt` is replaced.
        original: the weights that the server was started with.
        work: folder for datalist, configuration, checkpoints and figures of the last training.
        studies: the studies folder, whose datalist.json has reports and labels; None where there is none.
    """

    def __init__(self, model: Path, original: Path, work: Path, studies: Path | None) -> None:
        super().__init__("Learn from what was drawn on the radiographs of these studies.")
        self.model, self.original, self.work, self.studies = model, original, work, studies

    def config(self) -> dict[str, Any]:
        """What a request may set."""
        overlay = json.loads(OVERLAY.read_text(encoding="utf-8"))
        return {"max_epochs": overlay["max_epochs"], "learning_rate": overlay["learning_rate"], "pretrained": True}

    def stats(self) -> dict[str, Any]:
        """Figures of the last training; nothing before the first."""
        file = self.work / "stats.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; `pretrained` false begins from the weights that the server was started with.

        Raises:
            ValueError: nothing is drawn, a drawn label cannot be used, or another training runs.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.work / ".lock", timeout=1):  # gone with the process that holds it
                return self._train(request, datastore)
        except Timeout as error:
            raise ValueError("Another training runs in this folder: wait until it is done, or stop it.") from error

    def _train(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        configuration = self.configuration(request, datastore)
        checkpoints = self.work / "checkpoints"
        begun = self._begin_or_go_on(configuration, checkpoints)
        before = self.inside(configuration)
        try:
            trained = self._trained(configuration, checkpoints)
        except Exception:  # it would fail again; what is killed goes on
            begun.unlink()
            raise
        after = self.inside(configuration, trained)
        count = len(json.loads((self.work / "datalist.json").read_text(encoding="utf-8"))["training"])
        figures = {"images": count, "mean_inside_minus_outside_boxes": {"before": before, "after": after}}
        write_json(self.work / "stats.json", figures)
        save_atomically(trained, self.model / "models" / "model.pt")
        begun.unlink()
        logger.info("Trained on %d radiographs; map inside minus outside the boxes %.3f -> %.3f.", count, before, after)
        return figures

    def _begin_or_go_on(self, configuration: Path, checkpoints: Path) -> Path:
        """Keep the checkpoints of a training that was interrupted, if it is the one that is asked for.

        Returns:
            The file that says what was asked for; it is there until the training is over.
        """
        begun = checkpoints / "begun.json"
        weights = json.loads(configuration.read_text(encoding="utf-8"))["init_checkpoint"]
        asked = [file_sha256(file) for file in (configuration, self.work / "datalist.json", weights)]
        if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) == asked:
            logger.info("Going on with the training that was interrupted.")
            return begun
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(begun, asked)
        return begun

    def _trained(self, configuration: Path, checkpoints: Path) -> dict[str, torch.Tensor]:
        """The new weights."""
        monai.bundle.run(run_id="training", config_file=str(configuration))
        trained: dict[str, torch.Tensor] = torch.load(checkpoints / "model.pt", map_location="cpu", weights_only=True)
        broken = [name for name, value in trained.items() if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise ValueError(f"The training ended with values that are not finite, in {broken[0]}: nothing is changed.")
        return trained

    def configuration(self, request: dict[str, Any], datastore: Datastore) -> Path:
        """Write the datalist of what is drawn, and the configuration of a training on it.

        Args:
            request: as `bundle.label.routes.TRAIN` takes it.
            datastore: the radiographs and labels.

        Returns:
            The configuration's path.
        """
        parser = ConfigParser()
        parser.read_config([str(self.model / "configs" / "train.json"), str(OVERLAY)])
        inference = json.loads((self.model / "configs" / "inference.json").read_text(encoding="utf-8"))
        config = parser.get()
        config.pop("_meta_", None)
        config |= {key: inference[key] for key in ("reading",) if key in inference}  # train on what is looked at
        config |= {"clip": inference["clip"], "network_def": inference["network_def"] | {"trainable": "@trainable"}}
        config |= {
            "bundle_root": str(self.model),
            "dataset_dir": str(self.work),
            "image_dir": "/",
            "output_dir": str(self.work),
            "ckpt_dir": str(self.work / "checkpoints"),
            "init_checkpoint": str(
                self.model / "models" / "model.pt" if request.get("pretrained", True) else self.original
            ),
            "max_epochs": request.get("max_epochs", config["max_epochs"]),
            "learning_rate": request.get("learning_rate", config["learning_rate"]),
        }
        entries = self._entries(datastore, config["findings"], ReadingOptions.of(config.get("reading")))
        write_json(self.work / "datalist.json", {"findings": config["findings"], "training": entries})
        path = self.work / "train.json"
        write_json(path, config)
        return path

    def _entries(self, datastore: Datastore, findings: list[str], reading: ReadingOptions) -> list[dict[str, Any]]:
        """What was drawn, as entries of a datalist: all or nothing, because a lost drawing would not be missed."""
        known = known_entries(self.studies)
        entries, unusable = [], []
        for image in sorted(datastore.get_labeled_images()):
            info = datastore.get_label_info(image, DefaultLabelTag.FINAL)
            try:
                radiograph = datastore.get_image_uri(image)
                more = known.get(Path(radiograph).resolve(), {})
                mask = datastore.get_label_uri(image, DefaultLabelTag.FINAL)
                check_submitted(info, radiograph, mask)
                entries.append(drawn_entry(radiograph, mask, info, findings, more, reading))
            except (DrawnError, RadiographError, RefusedError) as error:
                unusable.append(f"{image}: {error.found if isinstance(error, RadiographError) else error}")
        if unusable:
            count = len(unusable)
            raise ValueError(f"{count} labels cannot be used, so that nothing is trained. " + "; ".join(unusable[:10]))
        if not entries:
            raise ValueError("Nothing is drawn yet: draw segments on a radiograph and submit the label, then train.")
        return entries

    def inside(self, configuration: Path, weights: dict[str, torch.Tensor] | None = None) -> float:
        """Mean over drawn boxes of the map's mean inside minus outside, by the training's own patch masks.

        Args:
            configuration: from `configuration`.
            weights: None takes those that the training begins with.
        """
        parser = ConfigParser()
        parser.read_config(str(configuration))
        parser.get()["augmentation"] = dict.fromkeys(parser.get()["augmentation"], 0.0)
        start = parser.get_parsed_content("init_checkpoint")
        network = parser.get_parsed_content("network")
        network.load_state_dict(weights or torch.load(start, map_location="cpu", weights_only=True))
        network.eval()
        differences = []
        for item in parser.get_parsed_content("train#dataset"):
            with torch.inference_mode():
                maps = network(torch.as_tensor(item["image"]).as_subclass(torch.Tensor)[None])[0]
            for one, mask in zip(maps, item["patch_mask"], strict=True):
                if mask.any() and not mask.all():
                    differences.append(float(one[mask].mean() - one[~mask].mean()))
        return round(sum(differences) / max(1, len(differences)), 4)
