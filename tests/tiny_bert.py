"""A folder with a tiny BERT of random weights and its tokenizer, as save_pretrained leaves them."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["no", "a", "the", "left", "right", "upper", "zone", "lung", "large", "small", "mass", "nodule"]
WORDS += ["effusion", "pleural", "in", "is", "there", ".", ","]


def write_tiny_bert(folder: Path, seed: int = 0, positions: int = 40) -> Path:
    """Width 16, one layer, `positions` tokens; returns `folder`."""
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=positions,
        initializer_range=0.3,  # at the library's .02 all texts look alike
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder
