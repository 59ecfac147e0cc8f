"""CLIP's tokenizer, built offline from the vocabulary that open_clip_torch's wheel carries (MIT)."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, CLIPTokenizer

CONTEXT_LENGTH = 77
_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 48_894  # of the file's merges, CLIP uses the first 48,894: 49,408 entries less 512 bytes and 2 markers


def build_clip_tokenizer() -> CLIPTokenizer:
    """CLIP's byte-pair tokenizer, 49,408 entries, context 77.

    Source: Radford et al. 2021; the vocabulary file's format is OpenAI's `bpe_simple_vocab_16e6.txt.gz`.

    Raises:
        FileNotFoundError: open_clip_torch is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "CLIP's vocabulary comes from the wheel of open_clip_torch, which is not installed: "
            "`pip install --no-deps open_clip_torch==3.3.0`, or set `tokenizer_folder` to a folder that "
            "holds a tokenizer."
        )
    path = Path(spec.submodule_search_locations[0]) / _VOCABULARY
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    merges = [(left, right) for left, right in (line.split() for line in lines[1 : _MERGES + 1])]
    alphabet = _byte_alphabet()
    tokens = alphabet + [f"{c}</w>" for c in alphabet] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT_LENGTH)


def load_tokenizer(folder: str | Path | None = None) -> Any:
    """A tokenizer from a folder written by `save_pretrained`; CLIP's own for None. Nothing is fetched.

    Raises:
        FileNotFoundError: there is no tokenizer at `folder`.
        ImportError: it needs a package that is not installed.
    """
    if folder is None:
        return build_clip_tokenizer()
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise ImportError(
            f"The tokenizer at '{folder}' needs a package that is not installed; SigLIP's needs sentencepiece: `pip "
            f"install --no-deps sentencepiece==0.2.3`. Its own words: {' '.join(str(error).split())}"
        ) from error
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"No tokenizer at '{folder}'. Wanted: a folder written by a transformers tokenizer's save_pretrained; "
            "`python -m scripts.build_tokenizer --folder FOLDER` writes CLIP's, or set `tokenizer_folder` to null."
        ) from error


def _byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes: printable bytes themselves first, then the others as chr(256 + n)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = 256 - len(printable)
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(rest)]
