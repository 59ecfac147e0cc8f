"""The types of questions about an image, by whose places answers are counted."""

TYPES = ("presence", "location", "size", "count", "finding", "own")
