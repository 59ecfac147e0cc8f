"""Writes what the network found in a radiograph: JSON, an overlay and maps. The last step of inference."""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.atomic import atomic_path, write_json
from bundle.data.output_names import OutputNames
from bundle.grid import grid_to_stored, plane_size
from bundle.probability import OperatingPoints
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import read_radiograph
from bundle.reading.upright import Upright
from bundle.results.findings_file import (
    NOT_CLINICAL,
    findings_document,
    reading_document,
    viewer_affine,
    write_maps,
)
from bundle.results.overlay import draw_overlay
from bundle.results.sampled_maps import sample_maps
from bundle.results.shown import image_scores
from bundle.results.stored_frame import candidates_of_file, maps_of_file
from bundle.versions import versions

logger = logging.getLogger(__name__)

_OVERLAY_MAP_SIDE = 600  # a map is smooth: more pixels would look the same below an overlay of 1200


class SaveFindingsd(MapTransform):
    """Writes `<name>.json`, `<name>_overlay.png` and `<name>_map.nii.gz`; the sample itself passes unchanged.

    It computes nothing that later steps need, so a service that answers by itself can leave it out. The radiograph is
    read again from its file, because the overlay and the geometry are the stored image's and not the canvas's. Each
    file is written atomically, the JSON last: where it exists, so does what it names. No patient identifier is taken
    from a file; names are those of the input files (`bundle.data.output_names`), or numbers.

    The JSON holds: `findings` (name -> scores, null where one is absent, in the network's order), `candidates` (all of
    them, by falling score: finding, score, peak [x, y], box), the frame in which they are, stored size, spacing, how
    grey values were read and a hash of the stored ones (`reading`), which files lie beside it, and the versions of the
    software. The notes of the reader stand in the overlay's caption too. Of an image that is no frontal chest
    radiograph it says why (`not_assessed`) and holds no score; the overlay says so below the image, and there is no
    map.

    Args:
        keys: the patch maps, (K, Gh, Gw).
        findings: names of the K findings, in the network's order.
        output_dir: made if missing.
        points: which candidates are shown: those the overlay draws. The JSON holds every candidate, and which are
            shown. The caption names the findings that the image as a whole speaks against; none where a sample has no
            `scores["image"]`. None takes the defaults of `OperatingPoints`.
        inputs: every file of the run, as paths or as mappings with `image_key`; makes names unique across subfolders.
            None names each output by its file alone and refuses to overwrite another file's.
        image_key: the canvas, a MetaTensor whose metadata name the file.
        overlay: whether to draw.
        maps: whether to write maps.
        map_side: the most pixels on a map's long side, because at full size the maps of one radiograph take 300 MB;
            None takes the stored image's pixels.
        anonymous_names: number the outputs in the order of `inputs`, and keep file names out of them.
        model: what to write about the model (name, version, ...), as JSON can hold it.
        notice: what every output says to whoever opens it.
        options: with which the network's reader read (`LoadRadiographd`); the JSON holds them.

    Raises:
        ValueError: where the settings contradict each other; on call, where a sample does not fit them.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        findings: Sequence[str] = (),
        output_dir: str | os.PathLike[str] = "eval/inference",
        points: OperatingPoints | None = None,
        inputs: Sequence[Any] | None = None,
        image_key: str = "image",
        overlay: bool = True,
        maps: bool = True,
        map_side: int | None = 512,
        anonymous_names: bool = False,
        model: Mapping[str, Any] | None = None,
        notice: str = NOT_CLINICAL,
        options: ReadingOptions | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys)
        self.points = OperatingPoints(findings) if points is None else points
        if not findings or self.points.findings != tuple(findings):
            raise ValueError(
                "SaveFindingsd: findings must be named, and be those of the operating points, got "
                f"{list(findings)} and {list(self.points.findings)}"
            )
        self.findings, self.output_dir = list(findings), Path(output_dir)
        self.image_key, self.overlay, self.maps, self.map_side = image_key, overlay, maps, map_side
        self.anonymous, self.model = anonymous_names, dict(model or {})
        self.notice, self.options = notice, ReadingOptions.of(options)
        self._name = OutputNames(inputs, image_key, anonymous_names, "SaveFindingsd")
        self._not_assessed = 0

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            self._save(d, d[key])
        return d

    def _save(self, d: Mapping[Hashable, Any], pred: torch.Tensor) -> None:
        canvas = d[self.image_key]
        file = str(getattr(canvas, "meta", {}).get("filename_or_obj", ""))
        if not file:
            raise ValueError(f"SaveFindingsd: {self.image_key!r} has no `filename_or_obj`; load it by LoadRadiographd")
        if len(pred) != len(self.findings):
            raise ValueError(
                f"SaveFindingsd: maps of {len(pred)} findings but {len(self.findings)} names; set findings"
            )
        image, meta = read_radiograph(file, self.options, hash_pixels=True)
        size: tuple[int, int] = meta["stored_size"]
        turn = Upright.of(meta["orientation"])
        upright = turn.size(size)
        if tuple(int(n) for n in d["stored_size"]) != upright:
            raise ValueError(
                f"{file}: the file is now {upright}, but was {d['stored_size']} when the network looked at it"
            )
        name = self._name(file)
        maps = torch.as_tensor(pred).as_subclass(torch.Tensor).detach().cpu().float()
        affine = torch.as_tensor(d["canvas_from_stored"]).cpu()
        grid_from_stored = torch.linalg.inv(grid_to_stored(affine, plane_size(canvas), plane_size(maps)))
        candidates = candidates_of_file(torch.as_tensor(d["candidates"]).cpu().numpy(), turn, size)

        scores = {str(key): torch.as_tensor(value).detach().cpu() for key, value in d.get("scores", {}).items()}
        reason: str | None = meta["not_assessed"]
        if reason:
            self._not_assessed += 1
            logger.warning("Not assessed (%d in this run): %s: %s.", self._not_assessed, name, reason)
        probability = image_scores(scores, len(self.findings))
        drawn = [] if reason else self.points.findings_to_show(probability)
        more: dict[str, Any] = {} if self.anonymous else {"file": Path(file).name}
        more["reading"] = reading_document(meta, self.options)
        if self.overlay:
            path = self._path(name, "_overlay.png")
            picture = draw_overlay(
                image,
                () if reason else candidates,
                () if reason else self.findings,
                None
                if reason
                else maps_of_file(sample_maps(maps, grid_from_stored, upright, _OVERLAY_MAP_SIDE).numpy(), turn),
                min_score=() if reason else self.points.box,
                max_per_finding=self.points.max_per_finding,
                caption=self._caption("" if self.anonymous else Path(file).name, scores, drawn, meta),
                only=drawn,
                pixel_aspect=meta["pixel_aspect"],
            )
            with atomic_path(path) as temporary:
                picture.save(temporary)
            more["overlay"] = {
                "file": path.name,
                "findings_considered": [self.findings[k] for k in drawn],
            }
        if self.maps and not reason:
            path = self._path(name, "_map.nii.gz")
            sampled = maps_of_file(sample_maps(maps, grid_from_stored, upright, self.map_side).numpy(), turn)
            affine_mm = viewer_affine(file, meta)
            shown = np.linalg.norm(affine_mm[:3, [1, 0]], axis=0)  # as `spacing`: between rows, between columns
            write_maps(
                path, sampled, affine_mm, size, meta["spacing"] is not None and np.allclose(shown, meta["spacing"])
            )
            more["map"] = {
                "file": path.name,
                "axes": "x right, y down, slice, finding",
                "volumes": self.findings,
                "size": {"height": sampled.shape[1], "width": sampled.shape[2]},
                "not_looked_at": "NaN",
            }
        more |= {"model": self.model} if self.model else {}
        document = findings_document(
            *(self.findings, scores, candidates, size, meta["spacing"], self.notice, reason, self.points),
            **more,
            analysed=datetime.now().astimezone().isoformat(timespec="seconds"),
            versions=versions(),
        )
        write_json(self._path(name, ".json"), document)

    def _caption(
        self, name: str, scores: Mapping[str, torch.Tensor], drawn: Sequence[int], meta: Mapping[str, Any]
    ) -> str:
        parts = [self.notice, f"{name}:" if name else ""]
        if meta["not_assessed"]:
            parts.append(f"Not assessed: {meta['not_assessed']}.")
        elif "image" in scores:
            text = [f"{finding} {scores['image'][k]:.2f}" for k, finding in enumerate(self.findings)]
            if drawn:
                parts.append(f"Image scores: {', '.join(text[k] for k in drawn)}.")
            if rest := [text[k] for k in range(len(text)) if k not in drawn]:
                parts.append(f"Not drawn, image score below its threshold: {', '.join(rest)}.")
            if not self.points.calibrated:
                parts.append("Scores are uncalibrated.")
        if meta["notes"]:
            parts.append(f"How it was read: {'; '.join(meta['notes'])}.")
        return " ".join(part for part in parts if part)

    def _path(self, name: str, ending: str) -> Path:
        return self.output_dir / f"{name}{ending}"
