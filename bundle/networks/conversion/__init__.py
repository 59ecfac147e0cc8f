"""Weights of other projects, made into what this one reads; `scripts/convert_checkpoint.py` is the command."""
