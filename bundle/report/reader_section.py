"""The report's tables of several readers: their agreement, and the network beside each."""

from collections.abc import Mapping, Sequence

from bundle.comparison.readers import FIGURES, ReaderPoint
from bundle.report.figure import Metrics
from bundle.report.reader_figure import draw_readers
from bundle.report.sections import Section, Table, figure_cell


def reader_section(
    findings: Sequence[str], metrics: Metrics, notes: Mapping[str, str], points: Sequence[ReaderPoint]
) -> Section | None:
    """From `bundle.comparison.readers.summarise_readers`; None where no two readers looked at one image."""
    if "agreement/f1/mean/mean" not in metrics:
        return None
    rows = {**{name: name for name in findings}, "Mean of findings": "mean"}
    agreement = [
        (words, [figure_cell(metrics, notes, f"agreement/{figure}/{name}/mean") for figure in ("kappa", "f1")])
        for words, name in rows.items()
    ]
    readers = [key.split("/")[2] for key in metrics if key.startswith("readers/mean/") and key.endswith("/difference")]
    beside = [
        (
            f"{reader}: {words[0].lower() + words[1:] if name == 'mean' else words}",
            [figure_cell(metrics, notes, f"readers/{name}/{reader}/{figure}") for figure in FIGURES],
        )
        for reader in readers
        for words, name in rows.items()
    ]
    figure = draw_readers(points)
    return Section(
        "readers",
        "Several readers",
        [
            "Each reader is judged by what any other reader saw, and the network by the same reference on the same "
            "images: a reader is to be compared with the network, not with another reader."
        ],
        [
            Table(
                "Agreement, mean of all pairs of readers: Cohen's kappa of whether the finding is in the image, and F1 "
                "of boxes matched one to one.",
                ("Finding", "Kappa", "F1 of boxes"),
                agreement,
            ),
            Table(
                "The network at each reader's false positives per image, which the intervals hold fixed.",
                ("Reader", "Sensitivity", "False positives per image", "Network's sensitivity", "Network minus reader"),
                beside,
            ),
        ],
        [] if figure is None else [figure],
    )
