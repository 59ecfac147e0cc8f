"""Radiographs of an archive, de-identified as they come."""
