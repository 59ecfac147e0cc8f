"""What a viewer is answered: a label mask or a heat map over the radiograph, and all that was found, as plain values.

The last steps of a service such as MONAI Label; `bundle.results.SaveFindingsd` is their counterpart for files.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from bundle.grid import grid_to_stored, patch_map_to_image, plane_size
from bundle.probability import OperatingPoints
from bundle.reading.upright import Upright
from bundle.results.findings_file import NOT_CLINICAL, findings_document, reading_document, viewer_affine
from bundle.results.segments import paint_segments
from bundle.results.shown import image_scores, rows_of
from bundle.results.stored_frame import candidates_of_file
from bundle.versions import versions

SHOW = ("regions", "boxes", "map")


class RequestError(ValueError):
    """A request asks for what there is not; the message says what there is."""


class SpreadOutputd(MapTransform):
    """{"pred": {"pred": maps, "scores": ...}} -> {"pred": maps, "scores": ...}: an output that came under one key."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            if isinstance(d[key], Mapping):
                d.update(d.pop(key))
        return d


class ViewerResultd(MapTransform):
    """Puts what a viewer shows in place of the maps, and into `result` what was found.

    The maps' key becomes (W, H, 1): x to the right, y down, one slice, the stored image's pixels, with the affine that
    ITK, and with it 3D Slicer, gives the radiograph. What it holds, the sample's `show` says:

    - `regions` (default): uint8, finding k as k + 1, each candidate where its map reaches half of its maximum;
    - `boxes`: the same with whole boxes;
    - `map`: float32, the patch probabilities of the finding that `finding` names (default: the one with the highest
      image score), drawn bilinearly; NaN where the network has not looked.

    Painted are the candidates that `points` show. The sample may bring `min_score` and `min_image_score` in place of
    the thresholds of all findings; "" keeps them. `result` always holds everything: what
    `bundle.results.findings_file.findings_document` lists, `prediction` (the image scores as MONAI Label's classifiers
    give them), `segments` (finding -> value in the mask, of those painted), `notice` and `reading` (how grey values
    were read, with the reader's notes). For an image that is no frontal chest radiograph it holds the reason,
    `not_assessed`, and no score; the mask is empty, the map NaN.

    Args:
        keys: the patch maps, (K, Gh, Gw).
        findings: names of the K findings, in the network's order.
        points: which candidates are painted; None takes the defaults of `OperatingPoints`.
        box_fraction: as the candidates were made with.
        image_key: the canvas.
        result_key: where the plain values go.
        notice: goes into the result; None is "Research software, not for clinical use."
        extension: format of the file that MONAI Label writes, where a request names none (it would write DICOM for
            DICOM, which holds no mask).

    Raises:
        RequestError: on call, for a `show`, `finding` or score that does not exist.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        findings: Sequence[str] = (),
        points: OperatingPoints | None = None,
        box_fraction: float = 0.5,
        image_key: str = "image",
        result_key: str = "result",
        notice: str | None = None,
        extension: str = ".nii.gz",
    ) -> None:
        super().__init__(keys)
        self.findings, self.notice = list(findings), notice or NOT_CLINICAL
        self.points = OperatingPoints(findings) if points is None else points
        self.box_fraction = box_fraction
        self.image_key, self.result_key, self.extension = image_key, result_key, extension
        self.versions = versions()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key], d[self.result_key] = self._answer(d, torch.as_tensor(d[key]).as_subclass(torch.Tensor))
            d["result_extension"] = d.get("result_extension") or self.extension
        return d

    def _answer(self, d: Mapping[Hashable, Any], maps: torch.Tensor) -> tuple[MetaTensor, dict[str, Any]]:
        maps = maps.detach().cpu().float()
        show = _choice(d, "show", SHOW)
        reading, canvas = d["reading"], d[self.image_key]
        size: tuple[int, int] = reading["stored_size"]
        scores = {str(key): torch.as_tensor(value).detach().cpu() for key, value in d["scores"].items()}
        candidates = torch.as_tensor(d["candidates"]).cpu()
        reason: str | None = reading["not_assessed"]
        if reason:  # nothing of what the network made of it goes on
            maps = torch.full_like(maps, torch.nan)
            scores, candidates = {name: torch.zeros_like(values) for name, values in scores.items()}, candidates[:0]
        points = self.points.replaced(_share(d, "min_score"), _share(d, "min_image_score"))
        turn = Upright.of(reading["orientation"])
        upright = turn.size(size)
        painted = candidates[rows_of(points, candidates.numpy(), image_scores(scores, len(self.findings)))]
        to_stored = grid_to_stored(d["canvas_from_stored"].cpu(), plane_size(canvas), plane_size(maps))
        grid_from_stored = torch.linalg.inv(to_stored)

        in_file = candidates_of_file(candidates.numpy(), turn, size)
        result = findings_document(
            *(self.findings, scores, in_file, size, reading["spacing"], self.notice, reason, points)
        )
        image = scores["image"].tolist()
        result["notice"] = self.notice
        result["reading"] = reading_document(reading)
        result["prediction"] = [
            {"idx": k, "label": name, "score": round(image[k], 6)} for k, name in enumerate(result["findings"])
        ]
        result["show"] = show
        if show == "map":
            names = sorted(self.findings, key=lambda name: -image[self.findings.index(name)])
            finding = _choice(d, "finding", names)
            k = self.findings.index(finding)
            plane = patch_map_to_image(maps[k : k + 1], grid_from_stored, upright)[0].numpy()
            result |= {"finding": finding, "segments": {}}
        else:
            within = maps if show == "regions" else None
            plane = paint_segments(painted, upright, within, grid_from_stored, self.box_fraction)
            there = np.flatnonzero(np.bincount(plane.ravel())).tolist()  # np.unique would sort millions of pixels
            result["segments"] = {self.findings[value - 1]: value for value in there if value}
        result["versions"] = self.versions
        affine = torch.from_numpy(viewer_affine(reading["filename_or_obj"], reading))
        return MetaTensor(torch.from_numpy(np.ascontiguousarray(turn.undo(plane).T)[..., None]), affine=affine), result


def _choice(data: Mapping[Hashable, Any], key: str, known: Sequence[str]) -> str:
    """What a sample asks for; the first where it asks for nothing, or hands on the whole list of choices."""
    asked = data.get(key)
    if not asked or isinstance(asked, list | tuple):
        return known[0]
    for name in known:
        if str(asked).casefold() == name.casefold():
            return name
    raise RequestError(f"{key} is {str(asked)[:60]!r}; it can be {', '.join(known)}")


def _share(data: Mapping[Hashable, Any], key: str) -> float | None:
    """A threshold that a sample asks for; None where it asks for none."""
    asked = data.get(key)
    if asked is None or asked == "":
        return None
    try:
        value = float(asked)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        raise RequestError(f"{key} is {str(asked)[:60]!r}; it can be a number from 0 to 1")
    return value
