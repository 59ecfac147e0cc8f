"""Check a datalist and all its images once, and leave a table beside it that spares every later start the check.

python -m scripts.check_datalist data/demo/datalist.json
"""

import json
import sys
from pathlib import Path

import fire

from bundle.data.datalist import DatalistError, write_checked
from bundle.data.datalist_text import table_of

TRAINING = Path(__file__).resolve().parent.parent / "configs" / "train.json"


def main(datalist: str, image_dir: str | None = None, reading: dict | None = None) -> None:
    """Write `DATALIST.checked.arrow`, or say every fault and write nothing.

    `image_dir` is the folder that the images are named in, where it is not the datalist's, and `reading` what is
    otherwise than in that section of train.json, such as '{"voi_index": 1}': both as the training has them.
    """
    usual = json.loads(TRAINING.read_text(encoding="utf-8"))["reading"]
    try:
        checked = write_checked(datalist, image_dir, usual | (reading or {}))
    except (DatalistError, ValueError, OSError) as error:
        sys.exit(str(error))
    for name, entries in checked.sections.items():
        print(f"{name}: {len(entries):,} images")
    print(f"{table_of(checked.path)}: trainings start by it while neither the datalist nor an image changes.")


if __name__ == "__main__":
    fire.Fire(main)
