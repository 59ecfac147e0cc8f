"""The report's tables of regions and their captions."""

from collections.abc import Mapping

from bundle.data.hard_negatives import KINDS
from bundle.report.figure import Metrics
from bundle.report.sections import Section, Table, figure_cell


def region_section(metrics: Metrics, notes: Mapping[str, str]) -> Section | None:
    """Hard negatives, retrieval and pointing, from `bundle.comparison.RegionEvaluation`; None where there are none."""
    if "regions/accuracy" not in metrics:
        return None
    rows = {"all hard negatives of a region": "regions/accuracy"}
    rows |= {f"one with another {kind}": f"regions/pairwise/{kind}" for kind in KINDS}
    columns = [("Network", ""), ("Words alone", "/blind"), ("Difference", "/difference")]
    if "regions/accuracy/blind" not in metrics:
        columns = columns[:1]
    against = [
        (
            name,
            [
                *(figure_cell(metrics, notes, f"{key}{end}") for _, end in columns),
                figure_cell(metrics, notes, "regions/n_regions" if key == "regions/accuracy" else f"{key}/n_pairs"),
            ],
        )
        for name, key in rows.items()
    ]
    names = ("r_at_1", "r_at_5", "r_at_10", "median_rank", "gallery_size", "distinct_texts")
    digits = (2, 2, 2, 0, 0, 0)
    retrieval = [
        (
            direction.replace("_", " "),
            [figure_cell(metrics, notes, f"regions/{direction}/{k}", n) for k, n in zip(names, digits, strict=True)],
        )
        for direction in ("region_to_caption", "caption_to_region")
    ]
    pointing = [figure_cell(metrics, notes, f"regions/pointing{end}") for end in ("", "/chance")]
    chance = metrics.get("regions/accuracy/chance")
    return Section(
        "regions",
        "Regions and their captions",
        [
            "Of given boxes: whether a region's embedding fits its caption. Words alone: what a model reaches that "
            "never sees an image and reads the captions, fitted on the training section."
        ],
        [
            Table(
                "How often the caption scores above wrong ones."
                + ("" if chance is None else f" Chance is {chance:.2f} for all, 0.50 for one."),
                ("Wrong captions", *(heading for heading, _ in columns), "Regions or pairs"),
                against,
            ),
            Table(
                "Retrieval over the section; equal captions are one text. A caption asks for any region it is true of.",
                ("Direction", "R@1", "R@5", "R@10", "Median rank", "Gallery", "Distinct captions"),
                retrieval,
            ),
            Table(
                "Pointing: the patch that fits the caption best carries the lesion.",
                ("", "Share", "Chance"),
                [("in its image", pointing)],
            ),
        ],
    )
