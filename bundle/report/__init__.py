"""What people look at: overlays on radiographs, figures and the report of an evaluation.

Nothing is imported here, so that inference, which draws overlays, does not load what the report's figures need.
"""
