"""Make the simulated demo radiographs: `python -m scripts.make_demo_radiographs --output data/demo --images 4000`.

`--sheet docs/images/demo_radiographs.png` also draws a contact sheet; `--help` lists every option.
"""

import logging

import fire

from bundle.data.demo import make_demo_radiographs

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire(make_demo_radiographs)
