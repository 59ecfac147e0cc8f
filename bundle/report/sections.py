"""Tables of the report beyond the main one: lesion size, comparison, subgroups, language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bundle.comparison.outcome import LEFT_OUT
from bundle.metrics.group_gaps import GAPS
from bundle.metrics.planned import PLANNED
from bundle.metrics.registry import NOT_LOCALISED, heading
from bundle.metrics.strata import MM_TIERS, SIZE_TIERS
from bundle.report.figure import Figure, Metrics

Cell = dict[str, Any]

MM_WORDS = dict(zip(MM_TIERS, ("up to 15 mm", "15 to 30 mm", "30 to 100 mm", "above 100 mm"), strict=True))
_ZERO_SHOT = ("auroc", "auroc_positive_only")
_SIZES = dict(zip(SIZE_TIERS, ("Smaller than a patch", "One to four patches", "Larger"), strict=True))


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        caption: what it shows, in a sentence or two.
        headings: of the columns; the first is that of the row heads.
        rows: name and cells of each row; a cell is of `figure_cell`, or plain text. `below` in it is a line under it.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        name: its anchor.
        title: its heading.
        text: paragraphs before the tables.
        tables: of it.
        figures: of it.
    """

    name: str
    title: str
    text: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Figure] = field(default_factory=list)


def figure_cell(metrics: Metrics, notes: Mapping[str, str], key: str, digits: int = 2) -> Cell:
    """A figure as text, its interval, and why it is missing where it is; a count has no mean."""
    value, low, high = (metrics.get(key + end) for end in ("", "/low", "/high"))
    count = any(part.startswith("n_") for part in key.split("/"))
    digits = 0 if count else digits
    if value is None and count:
        return {"text": "", "interval": "", "why": "", "count": True}
    if value is None:
        why = notes.get(key, "this evaluation does not have it")
        never = why.startswith("plus infinity") and "never" in why
        return {"text": "never reached" if never else "not defined", "interval": "", "why": why, "count": False}
    ends = [notes.get(f"{key}/{end}", "") for end in ("low", "high")]
    bounds = [
        f"{bound:.{digits}f}" if bound is not None else "∞" if "infinity" in end else ""
        for bound, end in zip((low, high), ends, strict=True)
    ]
    interval = " to ".join(bounds) if all(bounds) else ""
    return {"text": f"{value:.{digits}f}", "interval": interval, "why": "", "count": count}


def words(text: str) -> Cell:
    """A cell of plain text."""
    return {"text": text, "interval": "", "why": "", "count": True}


def size_section(
    findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str], figures: Sequence[Figure] = ()
) -> Section | None:
    """Sensitivity by lesion size, from `bundle.metrics.by_size`; None where it is not known.

    In patches of the grid and in mm, whichever are known.
    """
    names = {tier: name for tier, name in (_SIZES | MM_WORDS).items() if _lesions(metrics, tier)}
    lesions = {tier: _lesions(metrics, tier) for tier in names}
    if not names:
        return None
    key = "froc/{}/{}/{}"
    means, rows = [], []
    for tier, name in names.items():
        counts = [*lesions[tier].values()]
        cells = [words(str(sum(counts))), words(f"{sum(n > 0 for n in counts)} of {len(counts)}")]
        columns = ("sens_at_1fp", "oracle", "sens_at_1fp_pooled")
        cells += [_size_cell(metrics, notes, key.format("mean", tier, k), counts) for k in columns]
        means.append((name, cells))
    for finding in findings:
        cells = []
        for tier in names:
            count, top = lesions[tier][finding], metrics.get(key.format(finding, tier, "oracle"))
            cell = _size_cell(metrics, notes, key.format(finding, tier, "sens_at_1fp"), [count])
            below = f"n = {count}" + ("" if top is None else f", ceiling {top:.2f}")
            cells.append(cell | {"below": below if count else ""})
        rows.append((finding, cells))
    return Section(
        "size",
        "By lesion size",
        [
            "The area of a lesion's box, in patches of the grid. False positives have no size: those of all images "
            "stand against every tier.",
            *([f"In millimetres: {notes['mm_tiers']}."] if "mm_tiers" in notes else []),
        ],
        [
            Table(
                "Means of the findings that have lesions of the size: these need not be the same in every row. The "
                "last column is of all lesions of the size together, whatever their finding.",
                (
                    *("Size", "Lesions", "Findings", heading("froc/mean/sens_at_1fp")),
                    *("Ceiling of the grid", "Sensitivity, all lesions together"),
                ),
                means,
            ),
            Table(
                "Sensitivity at one false positive per image, 95% interval, number of lesions and ceiling of the grid.",
                ("Finding", *names.values()),
                rows,
            ),
        ],
        list(figures),
    )


def comparison_section(
    metrics: Metrics, notes: Mapping[str, str], methods: Mapping[str, Mapping[str, str]], reference: str
) -> Section:
    """The methods side by side: sensitivity, false positives, their paired differences, localisation.

    Args:
        metrics: of `bundle.metrics.paired.compare` and `bundle.comparison.localize.localization_figures`.
        notes: of the same.
        methods: name -> `supervision` and `setting` in words.
        reference: the method that the others are held against.
    """

    def cells(name: str, keys: Sequence[str]) -> list[Cell]:
        return [
            words("reference")
            if name == reference and key.endswith(("/difference", "/ratio"))
            else figure_cell(metrics, notes, key.format(name))
            for key in keys
        ]

    main = (
        "compare/{}/mean/sens_at_1fp",
        "compare/{}/mean/sens_at_1fp/difference",
        "compare/{}/mean/fp_at_reference_sens_at_1fp",
        "compare/{}/mean/fp_at_reference_sens_at_1fp/ratio",
    )
    own = "compare/{}/mean/fp_at_own_sens_at_1fp"
    within_reach = (own, f"{own}/reference", f"{own}/ratio")
    areas = [f"compare/{{}}/mean/{area}{end}" for area in ("score", "wafroc") for end in ("", "/difference")]
    sizes = [(f"compare/{{}}/mean/{tier}/sens_at_1fp", [*_lesions(metrics, tier).values()]) for tier in SIZE_TIERS]
    maps = [f"localization/{{}}/mean/{measure}" for measure in ("pointing", "iou", "dice", "cnr")]
    maps += [f"box_ap/{{}}/mean/iou_{iou}" for iou in ("0.1", "0.3", "0.5")]
    chance = figure_cell(metrics, notes, "localization/chance/mean/pointing")
    return Section(
        "comparison",
        "Comparison with other methods",
        [
            "Every method was judged on the same images, by its best floor, smoothing and scaling on validation, "
            f"chosen before and frozen. Differences are {reference} minus the method, ratios {reference} over the "
            "method, with paired bootstrap intervals."
            + (f" {notes['exploratory'].capitalize()}." if "exploratory" in notes else ""),
            *(
                f"Left out: {key.removeprefix(LEFT_OUT)}, because {why}."
                for key, why in notes.items()
                if key.startswith(LEFT_OUT)
            ),
        ],
        [
            *_planned(metrics, notes),
            Table(
                "Means of the findings. Boxes: what box supervision the method had.",
                ("Method", "Boxes", *map(heading, main)),
                [(name, [words(about["supervision"]), *cells(name, main)]) for name, about in methods.items()],
            ),
            Table(
                "False positives at the sensitivity of the method, where its curve may end below the reference's.",
                ("Method", *map(heading, within_reach)),
                [(name, cells(name, within_reach)) for name in methods if name != reference],
            ),
            Table(
                "FROC score, the mean sensitivity over 1/8 to 8 FP per image, and area under the wAFROC curve.",
                ("Method", *map(heading, areas)),
                [(name, cells(name, areas)) for name in methods],
            ),
            Table(
                f"{heading('froc/mean/sens_at_1fp')}, by lesion size, in patches of the grid: mean of the "
                "findings, and below it of all lesions together.",
                ("Method", *_SIZES.values()),
                [(name, [_pooled_below(metrics, notes, key.format(name), n) for key, n in sizes]) for name in methods],
            ),
            Table(
                "Localisation on the images that have the finding: pointing game, mean IoU and Dice over thresholds, "
                "contrast-to-noise ratio of the map, and average precision of the boxes.",
                ("Method", *map(heading, maps)),
                [
                    *((name, cells(name, maps)) for name in methods),
                    ("a point drawn anywhere", [chance, *[words("")] * (len(maps) - 1)]),
                ],
            ),
            *_not_localised(notes),
            Table(
                "What validation chose for each method.",
                ("Method", "Setting"),
                [(name, [words(about["setting"])]) for name, about in methods.items()],
            ),
        ],
    )


def _planned(metrics: Metrics, notes: Mapping[str, str]) -> list[Table]:
    """The planned comparisons, of `bundle.metrics.planned`; none where none were."""
    names = [key.removeprefix(PLANNED) for key in notes if key.startswith(PLANNED) and key.count("/") == 1]
    if not names:
        return []
    ends, digits = ("difference", "margin", "p", "p_holm"), (2, 2, 4, 4)
    rows = [
        (
            name,
            [
                *(figure_cell(metrics, notes, f"{PLANNED}{name}/{e}", n) for e, n in zip(ends, digits, strict=True)),
                words(notes[f"{PLANNED}{name}"]),
            ],
        )
        for name in names
    ]
    caption = "Comparisons that the plan names: the only ones that are tested. p: corrected for their number by Holm."
    return [Table(caption, ("Planned", "Difference", "Margin", "p alone", "p", "Claim"), rows)]


def _not_localised(notes: Mapping[str, str]) -> list[Table]:
    """For each method, the findings that it does not find better than baselines without a look; none without these."""
    named: dict[str, dict[str, Cell]] = {}
    for key, findings in notes.items():
        if key.startswith(NOT_LOCALISED):
            baseline, method = key.removeprefix(NOT_LOCALISED).split("/")
            named.setdefault(method, {})[baseline] = words(findings)
    if not named:
        return []
    baselines = list(dict.fromkeys(baseline for cells in named.values() for baseline in cells))
    return [
        Table(
            "What is not localised: the findings whose sensitivity at 1 FP per image does not lie above that of a "
            "baseline that sees no map (the lower end of the paired difference is not above 0).",
            ("Method", *(f"Not above {baseline}" for baseline in baselines)),
            [(method, [cells.get(baseline, words("")) for baseline in baselines]) for method, cells in named.items()],
        )
    ]


def subgroup_section(metrics: Metrics, notes: Mapping[str, str]) -> Section | None:
    """Means by sex, age band, view, vendor and site; None where the datalist knows none of them."""
    groups = list(dict.fromkeys("/".join(k.split("/")[:3]) for k in metrics if k.startswith("subgroup/")))
    if not groups:
        return None
    columns = ("n_images", "n_patients", "auroc/mean", "froc/mean/sens_at_1fp")
    rows = []
    for group in groups:
        _, name, value = group.split("/")
        label = f"{name}: {value.replace('_', ' ')}"
        rows.append((label, [figure_cell(metrics, notes, f"{group}/{key}") for key in columns]))
    table = Table(
        "Means of the findings; each group has its own threshold for one false positive per image. A difference is no "
        "proof of a cause: groups differ in more than the field.",
        ("Group", *(heading(f"subgroup/{{}}/{{}}/{key}") for key in columns)),
        rows,
    )
    return Section("subgroups", "Subgroups", [], [table, *_gaps(metrics, notes)])


def _gaps(metrics: Metrics, notes: Mapping[str, str]) -> list[Table]:
    """Differences between groups at the frozen thresholds, of `bundle.metrics.group_gaps`; none without a plan."""
    groups = list(dict.fromkeys("/".join(k.split("/")[:3]) for k in metrics if k.startswith("gap/")))
    if not groups:
        return []
    rows = []
    for group in groups:
        _, name, value = group.split("/")
        cells = [figure_cell(metrics, notes, f"{group}/{figure}/mean") for figure in GAPS]
        rows.append((f"{name}: {value.replace('_', ' ')}", cells))
    heads = ("Group", *(heading(f"gap/{{}}/{{}}/{figure}/mean") for figure in GAPS))
    return [Table(f"Differences between groups, means of the findings: {notes.get('gaps', '')}.", heads, rows)]


def language_section(findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str]) -> Section | None:
    """Retrieval, negation and zero-shot prompts; None where nothing of it was computed."""
    tables = []
    directions = [d for d in ("image_to_report", "report_to_image") if f"retrieval/{d}/r_at_1" in metrics]
    if directions:
        keys = ("r_at_1", "r_at_5", "r_at_10", "median_rank", "gallery_size", "distinct_texts")
        digits = (2, 2, 2, 0, 0, 0)
        rows = [
            (
                d.replace("_", " "),
                [figure_cell(metrics, notes, f"retrieval/{d}/{k}", n) for k, n in zip(keys, digits, strict=True)],
            )
            for d in directions
        ]
        heads = ("Direction", *(heading(f"retrieval/{{}}/{key}") for key in keys))
        tables.append(Table("Retrieval by the global embedding. Chance of R@1 is one over the gallery.", heads, rows))
    if "negation/mean/balanced" in metrics:
        columns = [f"negation/{{}}/{side}" for side in ("on_negatives", "on_positives", "balanced")]
        columns += [f"prompt_auroc/{score}/{{}}" for score in ("pair", "positive_only", "negated")]
        named = [
            (row, [figure_cell(metrics, notes, key.format(row)) for key in columns]) for row in [*findings, "mean"]
        ]
        caption = "Negation, by the global score. One half is chance in every column but the first two."
        tables.append(Table(caption, ("Finding", *map(heading, columns)), named))
    prompts = list(dict.fromkeys(k.split("/")[1] for k in metrics if k.startswith("zero_shot/")))
    if prompts:
        zero = [(name, [figure_cell(metrics, notes, f"zero_shot/{name}/{k}") for k in _ZERO_SHOT]) for name in prompts]
        caption = "Prompts that were not trained on, judged by the labels of the finding they mean."
        tables.append(Table(caption, ("Prompt", *(heading(f"zero_shot/{{}}/{k}") for k in _ZERO_SHOT)), zero))
    return Section("language", "Words: retrieval, negation, other prompts", [], tables) if tables else None


def _lesions(metrics: Metrics, tier: str) -> dict[str, int]:
    """How many lesions of a size each finding has; empty where sizes are not known."""
    start, end = "n_lesions/", f"/{tier}"
    counted = {k: v for k, v in metrics.items() if k.startswith(start) and k.endswith(end)}
    return {k.removeprefix(start).removesuffix(end): int(v or 0) for k, v in counted.items()}


def _size_cell(metrics: Metrics, notes: Mapping[str, str], key: str, lesions: Sequence[int]) -> Cell:
    """A figure of so many lesions a finding, which says so where there are none."""
    return words("no lesions") if lesions and not any(lesions) else figure_cell(metrics, notes, key)


def _pooled_below(metrics: Metrics, notes: Mapping[str, str], key: str, lesions: Sequence[int]) -> Cell:
    """`_size_cell` of a mean of findings, with the share of all lesions together in the line under it."""
    pooled = figure_cell(metrics, notes, f"{key}_pooled")
    below = f"{pooled['text']} ({pooled['interval']})" if pooled["interval"] else ""
    return _size_cell(metrics, notes, key, lesions) | {"below": below}
