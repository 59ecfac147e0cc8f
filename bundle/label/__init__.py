"""The bundle behind MONAI Label: a server for viewers such as 3D Slicer and OHIF, with training and active learning.

Modules that import `monailabel` run in `.venv-label` only, which scripts/serve.sh makes.
"""

import re

MODEL = "patch_clip"  # the one that is served
NAME = re.compile(r"(?!\.)[\w.\-+=@#() ~]{1,200}")  # of a radiograph, label, tag or session: may become part of a path
