"""The report's first table: what a reader meets at the frozen thresholds."""

from collections.abc import Mapping, Sequence

from bundle.metrics.table import Metrics
from bundle.report.sections import Section, Table, figure_cell


def shown_section(findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str]) -> Section | None:
    """From `bundle.metrics.shown.summarise_shown`; None where no thresholds were frozen."""
    if "shown/sensitivity" not in metrics:
        return None
    keys = ("shown/false_marks_per_image", "shown/sensitivity")
    rows = [("All findings together", [figure_cell(metrics, notes, key) for key in keys])]
    rows += [(name, [figure_cell(metrics, notes, f"{key}/{name}") for key in keys]) for name in findings]
    marks = Table(
        "Calibration and thresholds were frozen on validation; inference, DICOM results and MONAI Label show the same. "
        "Sensitivity is of all lesions, whatever their finding.",
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
        [(words, [figure_cell(metrics, notes, key)]) for words, key in whole],
    )
    return Section("shown", "What a reader meets", [], [marks, images])
