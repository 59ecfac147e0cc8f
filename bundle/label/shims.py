"""What MONAI Label 0.8.5 expects of its libraries and newer versions no longer have, put in place when it is asked for.

scripts/serve.sh copies this file into .venv-label, where every interpreter runs it when it starts: so that a plain
`python -m monailabel.main`, and the processes that it starts for training, find the same.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# pydicom 3 keeps the storage classes in pydicom.uid; pydicom-seg looks here
_PYDICOM = "pydicom._storage_sopclass_uids"
_DECLARED: list[object] = []  # a torch library lives as long as somebody holds it


class LabelShims(MetaPathFinder, Loader):
    """Answers imports of the one missing module, and prepares the import of torchvision."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for the missing module; None, so that the search goes on, for all others."""
        if fullname == "torchvision":
            _declare_nms()
        return ModuleSpec(fullname, self) if fullname == _PYDICOM else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the missing module."""
        from pydicom.uid import SegmentationStorage

        module.SegmentationStorage = SegmentationStorage  # type: ignore[attr-defined]


def _declare_nms() -> None:
    """Declare the operators that torchvision's import describes but a build for CUDA cannot load without CUDA."""
    import torch

    if _DECLARED or torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)


if not any(type(finder).__name__ == LabelShims.__name__ for finder in sys.meta_path):
    sys.meta_path.insert(0, LabelShims())
