"""The eight findings of NIH ChestX-ray14's boxes, and the function that draws each."""

from collections.abc import Callable

import numpy as np

from bundle.data.demo.heart import cardiomegaly
from bundle.data.demo.opacities import atelectasis, infiltration, mass, nodule, pneumonia
from bundle.data.demo.pleura import effusion, pneumothorax
from bundle.data.demo.scene import Lesion, Scene

BUILDERS: dict[str, Callable[[np.random.Generator, Scene], Lesion | list[Lesion] | None]] = {
    "Atelectasis": atelectasis,
    "Cardiomegaly": cardiomegaly,
    "Effusion": effusion,
    "Infiltration": infiltration,
    "Mass": mass,
    "Nodule": nodule,
    "Pneumonia": pneumonia,
    "Pneumothorax": pneumothorax,
}
FINDINGS = tuple(BUILDERS)
