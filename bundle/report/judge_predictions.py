"""Maps or boxes of any model, judged as this project's own: the same candidates, hits, intervals and report."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.comparison.judge import judge
from bundle.comparison.observe import Truth
from bundle.comparison.predictions import MapReading, read_predictions
from bundle.data.datalist import datalist_findings, datalist_section
from bundle.data.datalist_check import parse_document
from bundle.made_for import made_for
from bundle.metrics.matching import HitCriterion
from bundle.reading import ReadingOptions
from bundle.report.evaluation import Judged, write_evaluation
from bundle.transforms import LoadRadiographd

logger = logging.getLogger(__name__)


def judge_predictions(
    datalist: str | Path,
    predictions: str | Path,
    output: str | Path,
    section: str = "test",
    findings: Sequence[str] | None = None,
    image_dir: str | Path | None = None,
    reading: Mapping[str, Any] | None = None,
    criterion: HitCriterion | None = None,
    maps: MapReading | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Path:
    """Judge the files that another model left (`bundle.comparison.predictions` says which) on a section.

    The records in `output` are of the same truth as those that `run evaluating` leaves for this datalist and section:
    compare.json takes them as a method, with paired differences, where `judged_elsewhere` names their folder.

    Args:
        datalist: the JSON file.
        predictions: folder of the files.
        output: folder of the report.
        section: of the datalist.
        findings: K that the model knows, in the order of its maps; None takes the datalist's.
        image_dir: folder that images are named in; None is the datalist's.
        reading: section `reading` of a configuration, with which the images are read.
        criterion: when a candidate hits; None is `centre`.
        maps: how candidates are made of maps; None is `MapReading()`.
        replicates: R of the bootstrap.
        seed: of the draws.

    Returns:
        The report's page.

    Raises:
        DatalistError: faults of the datalist.
        ValueError: faults of the predictions.
        FileNotFoundError: predictions that are not there.
    """
    items: list[Any] = list(datalist_section(datalist, section, findings, base_dir=image_dir, reading=reading))
    known = list(findings) if findings is not None else datalist_findings(datalist)
    document, _ = parse_document(Path(datalist))
    named = {key: [entry["image"] for entry in part] for key, part in document.items() if _is_section(part)}
    elsewhere = [name for key, part in named.items() if key != section for name in part]
    load = LoadRadiographd("image", ReadingOptions.of(reading))
    truths = [_truth(load(item)) for item in items]
    candidates, scores = read_predictions(Path(predictions), items, truths, named[section], known, elsewhere, maps)
    logger.info("%d candidates on %d images.", sum(map(len, candidates)), len(items))
    rule = criterion or HitCriterion()
    judged = Judged(
        criterion=rule,
        datalist=datalist,
        made_for=made_for(datalist, section, known),
        items=items,
        replicates=replicates,
        seed=seed,
    )
    return write_evaluation(Path(output), judge(candidates, scores, truths, known, rule), judged)


def _truth(read: Mapping[Any, Any]) -> Truth:
    """What is known of an image, without its pixels."""
    return {str(key): value for key, value in read.items() if key != "image"} | {
        "orientation": read["reading"]["orientation"]
    }


def _is_section(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(entry, Mapping) and "image" in entry for entry in part)
