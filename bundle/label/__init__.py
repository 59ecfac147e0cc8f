"""The bundle behind MONAI Label: a server for viewers such as 3D Slicer and OHIF, with training and active learning.

Modules that import `monailabel` run in `.venv-label` only, which scripts/serve.sh makes.
"""

MODEL = "patch_clip"  # the one that is served
