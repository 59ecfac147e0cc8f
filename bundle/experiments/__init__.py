"""Trainings compared over seeds, one cell at a time: the four systems, and the same training with fewer boxes."""
