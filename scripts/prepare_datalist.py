"""Make a datalist from a public data set's own tables.

python -m scripts.prepare_datalist nih --images /path/to/images --output data/nih/datalist.json --benchmark

`nih --help` lists every option.
"""

import logging

import fire

from bundle.data.nih import prepare_nih

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    fire.Fire({"nih": prepare_nih})
