"""Patch-CLIP as a MONAI bundle: everything that `configs/` may name by `_target_`."""

import os

__version__ = "0.2.0"  # of the code; a package keeps that of the code that made it

# MLflow reports its usage to its makers unless told not to; nothing here may call out unasked.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
