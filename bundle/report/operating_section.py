"""Tables of whole images' probabilities: operating points, calibration, net benefit."""

from collections.abc import Mapping, Sequence

from bundle.metrics.decision_curve import TRUST
from bundle.metrics.image_level import OPERATING_POINTS, WANTED_SENSITIVITY
from bundle.metrics.registry import heading
from bundle.report.figure import Figure, Metrics
from bundle.report.sections import Section, Table, figure_cell


def operating_section(
    findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str], figures: Sequence[Figure] = ()
) -> Section:
    """Average precision, operating points, calibration, from `bundle.metrics.image_level.summarise_images`."""
    rows = [*findings, "mean"]
    planned = any(key.startswith("operating/") for key in metrics)
    columns = ["ap/{}", "prevalence/{}", "calibration/{}/ece"]
    frozen = [f"operating/{p}/{{}}/{name}" for p in OPERATING_POINTS for name in ("sensitivity", "specificity")]
    caption = "ECE: expected calibration error, 10 bins of equal width. "
    if planned:
        columns += [*frozen, "ece/{}"]
        caption += (
            "Thresholds and calibration (slope and offset) were chosen on validation and frozen; the sensitivity that "
            f"they give here is what it became (sensitive: {WANTED_SENSITIVITY:g} was wanted). ECE: of the network's "
            "own score."
        )
    else:
        caption += "Without a plan there is no operating point: compare.json makes one on validation."
    table = Table(
        caption,
        ("Finding", *map(heading, columns)),
        [(row, [figure_cell(metrics, notes, key.format(row)) for key in columns]) for row in rows],
    )
    return Section(
        "operating",
        "Operating points and calibration",
        [],
        [table, *_decisions(findings, metrics, notes)],
        list(figures),
    )


def _decisions(findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str]) -> list[Table]:
    """Calibration slope, intercept and net benefit; none without a plan."""
    calibrated = [finding for finding in findings if metrics.get(f"calibration/{finding}/slope") is not None]
    if not calibrated:
        return []
    columns = ["recalibration/{}/slope", "recalibration/{}/intercept"]
    for threshold in TRUST[1::2]:
        columns += [f"net_benefit/{{}}/at_{threshold:g}{ending}" for ending in ("", "/treat_all")]
    rows = [(row, [figure_cell(metrics, notes, key.format(row), 3) for key in columns]) for row in calibrated]
    return [
        Table(
            "Calibrated probabilities. Slope and intercept of the logistic recalibration that would still mend them "
            "here (1 and 0: none). Net benefit: true positives an image, less false positives at the price that the "
            "threshold probability sets; acting on no image has 0.",
            ("Finding", *map(heading, columns)),
            rows,
        )
    ]
