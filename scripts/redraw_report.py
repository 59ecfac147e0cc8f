"""Draw figures and report.html again from saved records, without a model.

python -m scripts.redraw_report eval/demo

The gallery needs the images and is left out.
"""

import json
from pathlib import Path

import fire

from bundle.comparison.outcome import read_outcome
from bundle.comparison.readers import read_points
from bundle.data.datalist import datalist_findings
from bundle.metrics import load_records
from bundle.metrics.records_check import check_records
from bundle.metrics.records_io import records_made_for
from bundle.report.draw import draw_report


def main(
    folder: str,
    output: str | None = None,
    plan: str | None = None,
    datalist: str | None = None,
    description: str = "",
    replicates: int = 1000,
    seed: int = 0,
) -> None:
    """Read an evaluation's `folder`; write to `output`, by default a folder `redrawn` in it.

    `plan` is the plan.json whose calibration the reliability figure shows. A finding of the records that `datalist`
    does not know is refused.
    """
    source = Path(folder)
    metrics = json.loads((source / "metrics.json").read_text(encoding="utf-8"))
    notes = json.loads((source / "notes.json").read_text(encoding="utf-8"))
    points = {} if plan is None else json.loads(Path(plan).read_text(encoding="utf-8"))["points"]
    records, outcome = load_records(source / "records"), read_outcome(source)
    said = records_made_for(source / "records")
    if outcome is not None and outcome.made_for != said:
        print(f"{source}: the comparison is left out, it was made for {outcome.made_for}, the evaluation for {said}.")
        outcome = None
    if datalist is not None:
        check_records(records, known=datalist_findings(datalist))
    target = source / "redrawn" if output is None else Path(output)
    print(
        draw_report(
            target,
            records,
            metrics,
            notes,
            points,
            outcome,
            replicates,
            seed,
            description=description or notes.get("description", ""),
            readers=read_points(source),
        )
    )


if __name__ == "__main__":
    fire.Fire(main)
