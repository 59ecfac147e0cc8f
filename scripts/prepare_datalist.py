"""Make a datalist from a folder of images and a table, or from a public data set's own tables.

python -m scripts.prepare_datalist table --images /path/to/images --table boxes.csv --output data/own/datalist.json
python -m scripts.prepare_datalist nih --images /path/to/images --output data/nih/datalist.json --benchmark

`table --help` lists every option; docs/data.md has a command for each source.
"""

import inspect
import logging
import sys

import fire

from bundle.data.nih import prepare_nih
from bundle.data.sources.all import SOURCES
from bundle.data.sources.command import TEXTS, source_command
from bundle.data.sources.faults import SourceError
from scripts.switches import with_switches


def commands():
    """Source -> its command; what is text stays text, though it look like a number."""
    result = {"nih": with_switches(prepare_nih)}
    for name, read in SOURCES.items():
        command = source_command(read)
        options = inspect.signature(command).parameters
        texts = {option: str for option in options if option in TEXTS or option.endswith("_column")}
        result[name] = with_switches(command, **texts)
    return result


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    try:
        fire.Fire(commands())
    except (SourceError, FileNotFoundError) as error:  # what was given is at fault, and the message says where
        sys.exit(str(error))
