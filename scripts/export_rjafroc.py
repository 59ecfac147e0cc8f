"""Records as RJafroc's Excel file: python -m scripts.export_rjafroc eval/demo --output nodule.xlsx --finding Nodule

Methods that were compared are the modalities: --methods "['Patch-CLIP', 'RT-DETR']", all of them by default.
"""

from collections.abc import Sequence
from pathlib import Path

import fire

from bundle.comparison.outcome import read_outcome
from bundle.metrics.records_io import load_records
from bundle.metrics.rjafroc import write_rjafroc


def main(eval_dir: str, output: str, finding: str | None = None, methods: Sequence[str] | str | None = None) -> None:
    """Write the finding's records of an evaluation's methods; the finding can be left out where there is only one."""
    outcome = read_outcome(Path(eval_dir))
    folders = {"evaluation": "records"}
    if outcome is not None:
        folders = {name: method["folder"] for name, method in outcome.methods.items()}
    wanted = [methods] if isinstance(methods, str) else list(methods or folders)
    if unknown := [name for name in wanted if name not in folders]:
        raise SystemExit(f"{eval_dir} has no records of {unknown}; it has {list(folders)}")
    records = {name: load_records(Path(eval_dir) / folders[name]) for name in wanted}
    findings = records[wanted[0]].findings
    if finding is None and len(findings) > 1:
        raise SystemExit(f"RJafroc knows one kind of lesion a file: choose --finding of {', '.join(findings)}")
    write_rjafroc(records, finding or findings[0], output)
    print(f"{output}: {finding or findings[0]}, ModalityID", *(f"{n} = {name}" for n, name in enumerate(wanted, 1)))


if __name__ == "__main__":
    fire.Fire(main)
