"""The order of the two prompts of a finding, which networks, losses and metrics share."""

NEGATIVE, FINDING = 0, 1
"""Index of "no {finding}" and of "{finding}" in every pair of prompts and logits."""
