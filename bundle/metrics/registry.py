"""Every figure of metrics.json and comparison.json: its key, its name in tables, what computes it, its interval.

Keys are paths. {f} is a finding, or `mean` of those for which it is defined; {x} a rate of false positives per image;
{tier} a third of the contrast-to-noise ratio or a size of lesions; {m} and {b} a method and a baseline of a comparison.
Intervals stand under `/low` and `/high` (`bundle.metrics.intervals`).
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

NOT_LOCALISED = "not_localised/"
"""Begins the keys of notes that name findings a method does not localise; `<baseline>/<method>` ends them."""

SHARE, AREA, DIFFERENCE, PERCENTILES, NONE = "share", "area", "difference", "percentiles", ""


class Figure(NamedTuple):
    """One kind of figure.

    Attributes:
        key: pattern.
        name: for the heading of a table, with the parts of the key that it names.
        made_by: function, in `bundle`.
        interval: one of the kinds above.
    """

    key: str
    name: str
    made_by: str
    interval: str = NONE


_SEEN = "metrics.summary.summarise"
_FROC = "metrics.froc_figures.sensitivities"
_AREA = "metrics.classification.auroc"
_SHOWN = "metrics.shown.summarise_shown"
_OPERATING = "metrics.operating_point.operating_figures"
_CALIBRATION = "metrics.calibration.fit_platt"
_RETRIEVAL = "metrics.retrieval.retrieve"
_READERS = "comparison.readers.summarise_readers"
_REGIONS = "comparison.regions.RegionEvaluation"
_GROUPS = "metrics.subgroups.by_subgroup"
_GAPS = "metrics.group_gaps.gaps_between_groups"
_PLANNED = "metrics.planned.put_planned"
_ANSWERS = "metrics.vqa_summary.summarise_answers"
_ANSWERED = "metrics.vqa_summary.compare_answers"
_POOLED = "metrics.strata.put_pooled"
_NEGATION = "metrics.negation.negation_accuracy"
_PROMPTS = "metrics.negation.prompt_auroc"
_FP_AT = "metrics.froc_figures.fp_at_sensitivities"
_ABOVE = "comparison.localised.above_baselines"
_MAPS = "metrics.localization.localize"

FIGURES = (
    # what is counted
    Figure("n_images/{f}", "images", _SEEN),
    Figure("n_lesions/{f}", "lesions", _SEEN),
    Figure("n_lesions/{f}/{tier}", "lesions of the tier", "metrics.strata.put_tiers"),
    Figure("n_excluded/{f}", "left out", _SEEN),
    Figure("n_excluded/{f}/unboxed", "left out: positive, no complete boxes", _SEEN),
    Figure("n_excluded/{f}/unknown", "left out: not known", _SEEN),
    Figure("n_positive/{f}", "labelled positive", _SEEN),
    Figure("n_negative/{f}", "labelled negative", _SEEN),
    Figure("cnr_edges/{n}", "contrast-to-noise ratio between thirds", _SEEN),
    Figure("pool/{what}", "folds, images, lesions and patients of a pool", "metrics.pool.pool_folds"),
    # what a reader meets
    Figure("shown/false_marks_per_image", "false marks an image, all findings together", _SHOWN, PERCENTILES),
    Figure("shown/false_marks_per_image/{f}", "false marks an image", _SHOWN, PERCENTILES),
    Figure("shown/sensitivity", "sensitivity as shown, of all lesions", _SHOWN, SHARE),
    Figure("shown/sensitivity/{f}", "sensitivity as shown", _SHOWN, SHARE),
    Figure("shown/sensitivity_by_mm/{tier}", "sensitivity as shown, by size", _SHOWN, SHARE),
    Figure("shown/finding_free_marked", "share of images without any finding that are marked", _SHOWN, SHARE),
    Figure("shown/n_lesions", "lesions", _SHOWN),
    Figure("shown/n_lesions/{tier}", "lesions of the size", _SHOWN),
    Figure("shown/n_finding_free", "images without any finding", _SHOWN),
    # FROC
    Figure("froc/{f}/sens_at_{x}fp", "sensitivity at {x} FP/image per finding", _FROC, SHARE),
    Figure("froc/{f}/{tier}/sens_at_{x}fp", "sensitivity at {x} FP/image, of the tier", _FROC, SHARE),
    Figure(
        "froc/{f}/{tier}/sens_at_{x}fp_pooled",
        "the same, all lesions of the tier together",
        _POOLED,
        SHARE,
    ),
    Figure("froc/{f}/score", "FROC score", "metrics.table.put_froc", SHARE),
    Figure("froc/{f}/oracle", "ceiling of the grid", "metrics.matching.oracle"),
    Figure("froc/{f}/{tier}/oracle", "ceiling of the grid, of the tier", "metrics.matching.oracle"),
    Figure("froc/{f}/threshold_at_{x}fp", "score at {x} FP/image", "metrics.table.threshold_at"),
    Figure("wafroc/{f}", "wAFROC", "metrics.froc_figures.wafroc_area", AREA),
    # whole images
    Figure("auroc/{f}/{tier}", "AUROC of the tier", _AREA, AREA),
    Figure("auroc/{f}", "AUROC", _AREA, AREA),
    Figure("auroc/{score}/{f}", "AUROC of the score", _AREA, AREA),
    Figure("ap/{f}", "average precision", "metrics.operating_point.average_precision", SHARE),
    Figure("prevalence/{f}", "prevalence", "metrics.image_level.summarise_images"),
    Figure("operating/{p}/{f}/threshold", "threshold", "metrics.image_level.choose_operating_points"),
    Figure("operating/{p}/{f}/sensitivity", "sensitivity, {p}", _OPERATING, SHARE),
    Figure("operating/{p}/{f}/specificity", "specificity, {p}", _OPERATING, SHARE),
    Figure("operating/{p}/{f}/ppv", "PPV, {p}", _OPERATING, SHARE),
    Figure("operating/{p}/{f}/npv", "NPV, {p}", _OPERATING, SHARE),
    Figure("calibration/{f}/ece", "ECE", "metrics.calibration.calibration_error"),
    Figure("calibration/{f}/brier", "Brier score", "metrics.calibration.brier_score"),
    Figure("calibration/{f}/slope", "slope of the plan's calibration", _CALIBRATION),
    Figure("calibration/{f}/offset", "offset of the plan's calibration", _CALIBRATION),
    Figure("ece/{f}", "ECE, calibrated", "metrics.calibration.calibration_error", PERCENTILES),
    Figure("brier/{f}", "Brier score, calibrated", "metrics.calibration.brier_score", PERCENTILES),
    Figure("ece_recalibrated/{f}", "ECE, recalibrated by the other half", "metrics.calibration.by_other_half"),
    Figure("recalibration/{f}/slope", "slope", "metrics.recalibration.recalibration", PERCENTILES),
    Figure("recalibration/{f}/intercept", "intercept", "metrics.recalibration.recalibration", PERCENTILES),
    Figure("net_benefit/{f}/at_{t}", "net benefit from {t} on", "metrics.decision_curve.worth", PERCENTILES),
    Figure("net_benefit/{f}/at_{t}/treat_all", "of acting on all", "metrics.decision_curve.worth"),
    # groups of patients
    Figure("subgroup/{field}/{value}/n_images", "images", _GROUPS),
    Figure("subgroup/{field}/{value}/n_patients", "patients", _GROUPS),
    Figure("subgroup/{field}/{value}/n_images/{f}", "images that FROC counts", _GROUPS),
    Figure("subgroup/{field}/{value}/n_lesions/{f}", "lesions", _GROUPS),
    Figure("subgroup/{field}/{value}/n_positive/{f}", "labelled positive", _GROUPS),
    Figure("subgroup/{field}/{value}/n_negative/{f}", "labelled negative", _GROUPS),
    Figure("subgroup/{field}/{value}/auroc/{f}", "AUROC", _AREA, AREA),
    Figure("subgroup/{field}/{value}/froc/{f}/sens_at_{x}fp", "sensitivity at {x} FP/image per finding", _FROC, SHARE),
    Figure("gap/{field}/{value}/equal_opportunity/{f}", "equal opportunity", _GAPS, DIFFERENCE),
    Figure("gap/{field}/{value}/average_odds/{f}", "average odds", _GAPS, DIFFERENCE),
    Figure("gap/{field}/{value}/lesions_shown/{f}", "sensitivity to lesions, as shown", _GAPS, DIFFERENCE),
    # words
    Figure("retrieval/{direction}/r_at_{k}", "R@{k}", _RETRIEVAL, SHARE),
    Figure("retrieval/{direction}/median_rank", "median rank", _RETRIEVAL),
    Figure("retrieval/{direction}/gallery_size", "gallery", _RETRIEVAL),
    Figure("retrieval/{direction}/distinct_texts", "distinct texts", _RETRIEVAL),
    Figure("negation/{f}/on_negatives", "prefers “no …” without the finding", _NEGATION, SHARE),
    Figure("negation/{f}/on_positives", "prefers “…” with it", _NEGATION, SHARE),
    Figure("negation/{f}/balanced", "balanced", _NEGATION, SHARE),
    Figure("prompt_auroc/pair/{f}", "AUROC of the pair", _PROMPTS, AREA),
    Figure("prompt_auroc/positive_only/{f}", "AUROC of “…” alone", _PROMPTS, AREA),
    Figure("prompt_auroc/negated/{f}", "AUROC of “no …” for absence", _PROMPTS, AREA),
    Figure("zero_shot/{prompt}/auroc", "AUROC of the pair", _AREA, AREA),
    Figure("zero_shot/{prompt}/auroc_positive_only", "AUROC of the prompt alone", _AREA, AREA),
    # regions and their captions; /blind by the words alone
    Figure("regions/accuracy", "caption above all hard negatives", _REGIONS, SHARE),
    Figure("regions/accuracy/blind", "the same by the words alone", _REGIONS, SHARE),
    Figure("regions/accuracy/difference", "network less words alone", _REGIONS, DIFFERENCE),
    Figure("regions/accuracy/chance", "chance", _REGIONS),
    Figure("regions/pairwise/{kind}", "caption above a negative of the kind", _REGIONS, SHARE),
    Figure("regions/pairwise/{kind}/blind", "the same by the words alone", _REGIONS, SHARE),
    Figure("regions/pairwise/{kind}/difference", "network less words alone", _REGIONS, DIFFERENCE),
    Figure("regions/pairwise/{kind}/n_pairs", "pairs", _REGIONS),
    Figure("regions/pointing", "pointing by words", "metrics.region_matching.point", SHARE),
    Figure("regions/pointing/chance", "chance", "metrics.region_matching.point"),
    Figure("regions/n_{what}", "regions, images", _REGIONS),
    Figure("regions/{direction}/r_at_{k}", "R@{k}", _RETRIEVAL, SHARE),
    Figure("regions/{direction}/median_rank", "median rank", _RETRIEVAL),
    Figure("regions/{direction}/gallery_size", "gallery", _RETRIEVAL),
    Figure("regions/{direction}/distinct_texts", "distinct texts", _RETRIEVAL),
    # questions; {t} a type of question
    Figure("vqa/accuracy", "accuracy of answers", _ANSWERS, SHARE),
    Figure("vqa/accuracy/{t}", "accuracy of answers", _ANSWERS, SHARE),
    Figure("vqa/n_{what}", "questions, right ones, ones outside the vocabulary", _ANSWERS),
    Figure("vqa/n_{what}/{t}", "questions, right ones, ones outside the vocabulary", _ANSWERS),
    Figure("vqa/{t}/n_questions", "questions", _ANSWERED),
    Figure("vqa/{t}/{m}", "accuracy of answers", _ANSWERED, SHARE),
    Figure("vqa/{t}/{m}/difference", "ours less theirs", _ANSWERED, DIFFERENCE),
    # several readers; {a}|{b} a pair of them
    Figure("agreement/kappa/{f}/{pair}", "Cohen's kappa", "comparison.readers.kappa", PERCENTILES),
    Figure("agreement/f1/{f}/{pair}", "F1 of boxes", _READERS, SHARE),
    Figure("readers/{f}/{reader}/fp_per_image", "reader's FP/image", _READERS, PERCENTILES),
    Figure("readers/{f}/{reader}/sensitivity", "reader's sensitivity", _READERS, SHARE),
    Figure("readers/{f}/{reader}/model_sensitivity", "network's sensitivity there", _FROC, SHARE),
    Figure("readers/{f}/{reader}/difference", "network less reader", _READERS, DIFFERENCE),
    # a comparison; what is held against the reference has /difference, false positives also /ratio
    Figure("compare/{m}/{f}/sens_at_{x}fp", "sensitivity at {x} FP/image per finding", _FROC, SHARE),
    Figure("compare/{m}/{f}/{tier}/sens_at_{x}fp", "sensitivity at {x} FP/image, of the tier", _FROC, SHARE),
    Figure(
        "compare/{m}/{f}/{tier}/sens_at_{x}fp_pooled",
        "the same, all lesions of the tier together",
        _POOLED,
        SHARE,
    ),
    Figure("compare/{m}/{f}/score", "FROC score", "metrics.table.put_froc", SHARE),
    Figure("compare/{m}/{f}/oracle", "ceiling of the grid", "metrics.matching.oracle"),
    Figure("compare/{m}/{f}/wafroc", "wAFROC", "metrics.froc_figures.wafroc_area", AREA),
    Figure("compare/{m}/{f}/auroc", "AUROC", _AREA, AREA),
    Figure(
        "compare/{m}/{f}/fp_at_reference_sens_at_{x}fp",
        "FP/image at the reference's sensitivity",
        _FP_AT,
        PERCENTILES,
    ),
    Figure(
        "compare/{m}/{f}/fp_at_own_sens_at_{x}fp",
        "FP/image at the method's own sensitivity at {x} FP/image",
        _FP_AT,
        PERCENTILES,
    ),
    Figure(
        "compare/{m}/{f}/fp_at_own_sens_at_{x}fp/reference",
        "the reference's FP/image at the method's own sensitivity at {x} FP/image",
        _FP_AT,
        PERCENTILES,
    ),
    Figure("compare/{m}/{f}/fp_at_{s}sens", "FP/image at sensitivity {s}", _FP_AT, PERCENTILES),
    Figure("compare/{m}/{f}/curve_end", "most sensitivity of all candidates", "metrics.paired.compare"),
    Figure("compare/{m}/{f}/fp_at_curve_end", "FP/image of all candidates", "metrics.paired.compare"),
    Figure("planned/{name}/difference", "difference", _PLANNED, DIFFERENCE),
    Figure("planned/{name}/margin", "margin", _PLANNED),
    Figure("planned/{name}/p", "p alone", "metrics.planned.replicate_p"),
    Figure("planned/{name}/p_holm", "p", "metrics.planned.holm"),
    Figure("above/{b}/{m}/{f}/sens_at_{x}fp", "method less baseline", _ABOVE, DIFFERENCE),
    Figure("localization/{m}/{f}/pointing", "pointing", _MAPS, SHARE),
    Figure("localization/{m}/{f}/iou", "mIoU", _MAPS, PERCENTILES),
    Figure("localization/{m}/{f}/dice", "Dice", _MAPS, PERCENTILES),
    Figure("localization/{m}/{f}/cnr", "CNR", _MAPS, PERCENTILES),
    Figure("box_ap/{m}/{f}/iou_{t}", "mAP {t}", "metrics.detection.box_precision", SHARE),
)
"""By section; of two that fit a key the first."""

_TIER = "(?:cnr_(?:low|mid|high)|size_(?:small|mid|large)|mm_[a-z0-9_]+)"
_NUMBER = "[0-9.]+"
_PARTS = {"tier": _TIER, "x": _NUMBER, "k": _NUMBER, "t": "[^/]+", "s": _NUMBER, "n": _NUMBER}
_PAIRED = ("/difference", "/ratio")


def _pattern(key: str) -> "re.Pattern[str]":
    parts = re.split(r"\{(\w+)\}", key)
    return re.compile(
        "".join(f"(?P<{p}>{_PARTS.get(p, '[^/]+')})" if i % 2 else re.escape(p) for i, p in enumerate(parts))
    )


_PATTERNS = [(_pattern(figure.key), figure) for figure in FIGURES]


@lru_cache(maxsize=4096)
def figure_of(key: str) -> tuple[Figure, str] | None:
    """The figure that a key is of, and its name with the key's own parts; None where there is none.

    Args:
        key: of metrics.json or comparison.json, without `/low` and `/high`; {} stands for a part that is left open.
    """
    ending = next((end for end in _PAIRED if key.startswith("compare/") and key.endswith(end)), "")
    for pattern, figure in _PATTERNS:
        if found := pattern.fullmatch(key.removesuffix(ending)):
            name = figure.name.format(**found.groupdict())
            if not ending:
                return figure, name
            paired = DIFFERENCE if ending == "/difference" and figure.interval in (SHARE, AREA) else PERCENTILES
            return figure._replace(key=figure.key + ending, interval=paired), f"{ending[1:]} of {name}"
    return None


def name_of(key: str) -> str:
    """The name of a figure, for the heading of a table.

    Raises:
        ValueError: no figure has such a key.
    """
    known = figure_of(key)
    if known is None:
        raise ValueError(f"no figure has the key {key!r}: bundle/metrics/registry.py lists all")
    return known[1]


def heading(key: str) -> str:
    """`name_of`, its first letter a capital."""
    name = name_of(key)
    return name[:1].upper() + name[1:]


def has_interval(key: str) -> bool:
    """Whether the figure has an interval, under `/low` and `/high`."""
    known = figure_of(key)
    return known is not None and known[0].interval != NONE


def unregistered(keys: Iterable[str]) -> list[str]:
    """The keys that are no figure's, or that have an interval which the figure does not have."""
    wrong = []
    for key in keys:
        figure = key.removesuffix("/low").removesuffix("/high")
        if figure_of(figure) is None or (figure != key and not has_interval(figure)):
            wrong.append(key)
    return wrong


def key_table() -> str:
    """All figures as a table in Markdown."""
    rows = [f"| `{key}` | {name} | `{made_by}` | {interval} |" for key, name, made_by, interval in FIGURES]
    return "\n".join(["| key | what it is | made by, in `bundle.` | interval |", "|---|---|---|---|", *rows])
