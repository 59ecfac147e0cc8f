"""Make weights of other projects into what this one reads; docs/weights.md says which there are.

python -m scripts.convert_checkpoint openai best_64_0.0001_original_35000_0.864.pt models/chexzero
python -m scripts.convert_checkpoint open_clip FOLDER models/clip

`openai --help` and so on list every option.
"""

import logging

import fire

from bundle.networks.conversion.clip_folder import convert_open_clip, convert_openai

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    fire.Fire({"openai": convert_openai, "open_clip": convert_open_clip})
