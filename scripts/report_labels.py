"""How well labels from reports agree with experts' tags on Open-i: python -m scripts.report_labels [--markdown]"""

import fire

from bundle.data.report_labels import TERMS, report_labels
from bundle.data.sources.openi import read_openi
from scripts.switches import with_switches
from scripts.text_table import text_table


def main(tables: str | None = None, markdown: bool = False) -> None:
    """Print precision and recall of each finding over the reports that were tagged.

    What the labeller is unsure of is unknown, and counts for neither; what it does not find is absent. `tables` is
    Open-i's archive of reports; the one that torchxrayvision carries by default.
    """
    reports = {record.patient: record for record in read_openi(tables).records if record.report and record.labels}
    said = {patient: report_labels(record.report) for patient, record in reports.items()}
    rows = [["of " + f"{len(reports):,} reports", "tagged", "precision", "recall", "F1", "unsure", "of these tagged"]]
    for finding in TERMS:
        pairs = [(said[patient].get(finding, 0), record.labels[finding]) for patient, record in reports.items()]
        hits = pairs.count((1, 1))
        precision, recall = hits / max(1, hits + pairs.count((1, 0))), hits / max(1, hits + pairs.count((0, 1)))
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        unsure = [truth for label, truth in pairs if label is None]
        tagged = sum(truth for _, truth in pairs)
        rows.append(
            [finding, str(tagged), *(f"{x:.2f}" for x in (precision, recall, f1)), str(len(unsure)), str(sum(unsure))]
        )
    print(text_table(rows, markdown))


if __name__ == "__main__":
    fire.Fire(with_switches(main))
