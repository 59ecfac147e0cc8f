"""Make weights of other projects into what this one reads; docs/weights.md says which there are.

python -m scripts.convert_checkpoint openai best_64_0.0001_original_35000_0.864.pt models/chexzero
python -m scripts.convert_checkpoint open_clip FOLDER models/clip
python -m scripts.convert_checkpoint patch_clip checkpoint.pt models/published --findings Effusion

`openai --help` and so on list every option.
"""

import logging

import fire

from bundle.networks.conversion.clip_folder import convert_open_clip, convert_openai
from bundle.networks.conversion.patch_clip_file import convert_patch_clip

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    fire.Fire({"openai": convert_openai, "open_clip": convert_open_clip, "patch_clip": convert_patch_clip})
