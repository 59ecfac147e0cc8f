"""Make simulated radiographs: `python -m scripts.make_demo_radiographs --output data/simulated --images 4000`.

`--sheet docs/images/demo_radiographs.png` also draws a contact sheet; `--help` lists every option.
"""

import logging

import fire

from bundle.data.demo import make_demo_radiographs
from scripts.switches import with_switches

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)  # alone: the JPEG 2000 encoder logs a line for each image
    fire.Fire(with_switches(make_demo_radiographs))
