"""Baselines that see no map, beside the cells of a comparison of trainings: of the datalist and the cells' records."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bundle.comparison.box_places import section_truths, training_boxes
from bundle.comparison.unseeing import Atlas, NoLookMarker, Unseeing, judge_unseeing
from bundle.experiments.seeds import record_figures
from bundle.experiments.workflow import prepared_workflow
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Floats, Records
from bundle.metrics.records_check import check_same_truth

logger = logging.getLogger(__name__)

FIGURE = "froc/mean/sens_at_1fp"
NAMES = ("no-look marker", "atlas x image score")


class UnseeingRows:
    """What baselines without a look reach on a configuration's test section: the atlas, with each cell's image scores.

    Args:
        files: configuration files of an evaluation.
        overrides: of them, by id.

    Raises:
        DatalistError: for a datalist with faults, or without the training or the test section.
    """

    def __init__(self, files: Sequence[str | Path], overrides: dict[str, object]) -> None:
        parser = prepared_workflow([str(file) for file in files], "evaluating", overrides).parser
        names = ("datalist", "training_section", "test_section", "findings", "image_dir", "reading", "hit_criterion")
        datalist, training, test, findings, images, reading, hit = map(parser.get_parsed_content, names)
        self.criterion = HitCriterion(hit["criterion"], hit["threshold"], hit["box_fraction"], hit["assignment"])
        self.baselines: dict[str, Unseeing] = {}
        if self.criterion.name == "patch":
            logger.warning("No baselines without a look: criterion 'patch' needs the patches of a network.")
            return
        boxes = training_boxes(datalist, training, findings, images, reading)
        self.baselines = dict(zip(NAMES, (NoLookMarker(boxes), Atlas(boxes)), strict=True))
        self.truths = section_truths(datalist, test, findings, images, reading)

    def figures(self, records: Records, replicates: int, seed: int) -> dict[str, Floats]:
        """The baselines' macro sensitivity at 1 FP/image.

        Args:
            records: of a cell; its first image score is the atlas's.
            replicates: R of the bootstrap over patients.
            seed: of the draws.

        Returns:
            By `froc/mean/sens_at_1fp/<baseline>`: the figure and its replicates, (1 + R,).

        Raises:
            ValueError: the records are of other images, or were judged otherwise.
        """
        figures = {}
        # where the image has no label, it may have no score
        probability = torch.from_numpy(np.nan_to_num(next(iter(records.images.scores.values()))))
        for name, baseline in self.baselines.items():
            judged = judge_unseeing(baseline, self.truths, probability, self.criterion)
            check_same_truth({name: judged, "the cell": records}, "the cell")
            figures[f"{FIGURE}/{name}"] = record_figures(judged, replicates, seed)[FIGURE]
        return figures
