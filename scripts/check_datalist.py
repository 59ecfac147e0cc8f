"""Check a datalist and all its images once, and leave a table beside it that spares every later start the check.

python -m scripts.check_datalist data/demo/datalist.json
"""

import sys

import fire

from bundle.data.datalist import DatalistError, write_checked
from bundle.data.datalist_text import table_of


def main(datalist: str, image_dir: str | None = None, reading: dict | None = None) -> None:
    """Write `DATALIST.checked.arrow`, or say every fault and write nothing.

    `image_dir` is the folder that the images are named in, where it is not the datalist's, and `reading` the section of
    the configuration, such as '{"voi_index": 1}', where it is not train.json's: both as the training has them.
    """
    try:
        checked = write_checked(datalist, image_dir, reading)
    except (DatalistError, ValueError, OSError) as error:
        sys.exit(str(error))
    for name, entries in checked.sections.items():
        print(f"{name}: {len(entries):,} images")
    print(f"{table_of(checked.path)}: trainings start by it while neither the datalist nor an image changes.")


if __name__ == "__main__":
    fire.Fire(main)
