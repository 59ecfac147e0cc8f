"""Write CLIP's tokenizer to a folder: python -m scripts.build_tokenizer --folder models/tokenizer"""

import fire

from bundle.data.tokenizer import build_clip_tokenizer


def main(folder: str = "models/tokenizer") -> None:
    """Save the tokenizer as transformers does (tokenizer.json, tokenizer_config.json)."""
    build_clip_tokenizer().save_pretrained(folder)
    print(f"CLIP tokenizer, 49,408 entries, context 77: {folder}")


if __name__ == "__main__":
    fire.Fire(main)
