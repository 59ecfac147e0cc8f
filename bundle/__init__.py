"""Patch-CLIP as a MONAI bundle: everything that `configs/` may name by `_target_`."""
