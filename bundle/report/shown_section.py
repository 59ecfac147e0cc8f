"""The report's first table: what a reader meets at the frozen thresholds."""

from collections.abc import Mapping, Sequence

from bundle.metrics.table import Metrics
from bundle.report.sections import MM_WORDS, Cell, Section, Table, figure_cell, words


def shown_section(findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str]) -> Section | None:
    """From `bundle.metrics.shown.summarise_shown`; None where no thresholds were frozen."""
    if "shown/sensitivity" not in metrics:
        return None
    keys = ("shown/false_marks_per_image", "shown/sensitivity")
    rows = [("All findings together", [figure_cell(metrics, notes, key) for key in keys])]
    rows += [(name, [figure_cell(metrics, notes, f"{key}/{name}") for key in keys]) for name in findings]
    rows += [
        (
            f"Lesions {size}",
            [words(""), figure_cell(metrics, notes, f"shown/sensitivity_by_mm/{tier}") | _of(metrics, tier)],
        )
        for tier, size in MM_WORDS.items()
        if f"shown/sensitivity_by_mm/{tier}" in metrics
    ]
    unknown = notes.get("shown/sensitivity_by_mm", "")
    marks = Table(
        "Calibration and thresholds were frozen on validation; inference, DICOM results and MONAI Label show the same. "
        "Sensitivity is of all lesions, whatever their finding; by size: of the longest side of the box."
        + (f" There are {unknown}." if unknown else ""),
        ("Finding", "False marks an image", "Sensitivity as shown"),
        rows,
    )
    whole = [
        ("Images without any finding that are marked", "shown/finding_free_marked"),
        ("Mean expected calibration error of image probabilities", "ece/mean"),
    ]
    images = Table(
        "Of whole images.",
        ("", "Value"),
        [(name, [figure_cell(metrics, notes, key)]) for name, key in whole],
    )
    return Section("shown", "What a reader meets", [], [marks, images])


def _of(metrics: Metrics, tier: str) -> Cell:
    """How many lesions there are, for the line under a cell."""
    return {"below": f"n = {metrics[f'shown/n_lesions/{tier}']:.0f}"}
