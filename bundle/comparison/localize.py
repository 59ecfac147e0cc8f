"""Localisation measures of every method, beside FROC: pointing game, mIoU, Dice, contrast-to-noise, box precision."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from bundle.comparison.observe import Observed, Truth, to_stored_from
from bundle.grid import plane_size
from bundle.metrics.detection import IOUS, box_matches, box_precision
from bundle.metrics.localization import localize, stack
from bundle.metrics.records import Floats, Records
from bundle.metrics.table import NO_LESIONS, FigureTable, Metrics, Notes, draw_units, share_of

_WHY = "no image with complete boxes"


def localization_figures(
    seen: Mapping[str, Observed], truths: Sequence[Truth], records: Mapping[str, Records], replicates: int, seed: int
) -> tuple[Metrics, Notes]:
    """How well maps lie over boxes, on the images that have the finding and its complete boxes.

    Keys, with <m> a method and <f> a finding or `mean`, each with `/low` and `/high`:
    `localization/<m>/<f>/pointing`, `/iou`, `/dice`, `/cnr` (`bundle.metrics.localization.localize`; methods with maps
    only), `localization/chance/<f>/pointing`, what a point drawn anywhere in the image reaches (the mean share of it
    that the boxes cover), and `box_ap/<m>/<f>/iou_<t>`, t = .1, .3, .5 (`bundle.metrics.detection.box_precision`).

    None of them punishes a false alarm on an image without the finding; FROC does.

    Args:
        seen: maps of the methods that have them.
        truths: of the images.
        records: of every method.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.

    Returns:
        The metrics and the notes.
    """
    first = next(iter(records.values()))
    table = FigureTable(first.findings)
    draws = draw_units(table, first.images, replicates, seed)

    def put(name: str, measure: str, values: Floats) -> None:
        for k, finding in enumerate(first.findings):
            share = share_of(draws.unit[~np.isnan(values[:, k])])
            kind = share if measure == "pointing" else None  # overlaps and ratios are no shares
            table.put(f"localization/{name}/{finding}/{measure}", draws.mean(values[:, k]), _WHY, kind)
        table.mean(f"localization/{name}/{{}}/{measure}")

    for name, observed in seen.items():
        looked = [
            localize(
                maps,
                to_stored_from(truth, plane_size(maps)),
                truth["stored_size"],
                truth["boxes"],
                truth["box_finding"],
                torch.as_tensor(truth["boxed"]),
            )
            for maps, truth in zip(observed.maps, truths, strict=True)
        ]
        for measure, values in stack(looked).items():
            put(name, measure, values)
    put("chance", "pointing", np.stack([image.chance for image in looked]))  # of the boxes, so of any method's look
    for name, each in records.items():
        for finding, matches in zip(first.findings, box_matches(each), strict=True):
            kind = share_of(draws.unit[matches.lesion_image])
            for iou, figure in zip(IOUS, box_precision(matches, draws), strict=True):
                table.put(f"box_ap/{name}/{finding}/iou_{iou:g}", figure, NO_LESIONS, kind)
        for iou in IOUS:
            table.mean(f"box_ap/{name}/{{}}/iou_{iou:g}")
    return table.finish()
