"""An open-vocabulary detector from a local folder, asked for findings by their names: nothing of it is trained here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForZeroShotObjectDetection, ImageProcessingMixin
from transformers.image_transforms import center_to_corners_format

from bundle.comments import without_comments
from bundle.data.tokenizer import load_tokenizer
from bundle.networks.pretrained import load_pretrained, model_type
from bundle.networks.prompts import Prompts
from bundle.prompt_pair import FINDING

# model types of transformers, by how they are asked: a text for each query, or one caption of all
BY_QUERY = ("owlv2", "owlvit")
BY_CAPTION = ("grounding-dino", "mm-grounding-dino")


class OpenVocabularyDetector(nn.Module):
    """OWLv2, OWL-ViT or Grounding DINO, zero-shot, with the output of `bundle.networks.BoxDetector`.

    The canvas is resized to the model's input and normalised with the constants of its image processor, in torch
    (the processor itself would need torchvision, or go through PIL). The prompts are tokenised once. With p_qt the
    probability (sigmoid) that box q shows text t,

        score_qk = mean of p_qt over the texts t of finding k,

    a text being one of its positive prompts (OWL) or a token of one (Grounding DINO, which reads all prompts as one
    caption "a. b. c."). Not calibrated, and low by nature: give the candidates a low floor.

    All of it is frozen and stays in eval mode. Computes in float32 whatever the caller's autocast, as `BoxDetector`.

    Sources: Minderer et al., "Scaling Open-Vocabulary Object Detection", 2023, arXiv 2306.09683; Liu et al.,
    "Grounding DINO", 2023, arXiv 2303.05499.

    Args:
        folder: what `save_pretrained` wrote of model and processor: config.json, model.safetensors, tokenizer files,
            preprocessor_config.json (or processor_config.json).
        findings: names of the K findings, in the order of every K axis.
        prompts: `positive` and `names` of `bundle.networks.prompts.Prompts`; the bare names by default.

    Raises:
        FileNotFoundError: the folder, or a part of it, is not there.
        ValueError: another kind of model, weights that are not all there or do not fit, an image processor without the
            constants, or more text than the model reads.
    """

    tokens: torch.Tensor
    attention: torch.Tensor
    share: torch.Tensor
    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, folder: str | Path, findings: Sequence[str], prompts: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"No open-vocabulary detector at '{folder}'. Wanted: a local folder with config.json, "
                "model.safetensors, the tokenizer's files and preprocessor_config.json. On a connected machine: "
                "`hf download google/owlv2-base-patch16-ensemble --local-dir FOLDER` (or "
                "IDEA-Research/grounding-dino-tiny); then set `open_vocabulary_folder` to FOLDER."
            )
        self.kind = model_type(folder)
        if self.kind not in (*BY_QUERY, *BY_CAPTION):
            raise ValueError(f"'{folder}' holds a '{self.kind}'; wanted one of {[*BY_QUERY, *BY_CAPTION]}.")
        self.findings = list(findings)
        self.model = load_pretrained(AutoModelForZeroShotObjectDetection, folder)
        self.side, mean, std = _image_constants(folder)
        self.register_buffer("pixel_mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).reshape(3, 1, 1), persistent=False)
        texts = [pair[FINDING] for pair in Prompts(self.findings, **without_comments(prompts)).texts()]
        tokenizer = load_tokenizer(folder)
        if self.kind in BY_QUERY:
            length = self.model.config.text_config.max_position_embeddings
            tokens, attention, share = _queries(tokenizer, texts, length)
        else:
            tokens, attention, share = _caption(tokenizer, texts, self.model.config.max_text_len)
        for name, tensor in (("tokens", tokens), ("attention", attention), ("share", share)):
            self.register_buffer(name, tensor, persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "OpenVocabularyDetector":
        """Frozen: stays in eval mode."""
        return super().train(False)

    def forward(self, image: torch.Tensor, full: bool = True) -> dict[str, torch.Tensor]:
        """Look at radiographs.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            full: taken because the engines say it; there is one output.

        Returns:
            A dict: `detection_boxes` (B, Q, 4) as [x0, y0, x1, y1] in canvas pixels, and `detection_scores`
            (B, Q, K), both float32.
        """
        size = image.new_tensor(image.shape[-2:], dtype=torch.float32).flip(0).repeat(2)  # (4,) Wc, Hc, Wc, Hc
        with torch.autocast(image.device.type, enabled=False):
            small = F.interpolate(image.float(), [self.side] * 2, mode="bilinear", antialias=True, align_corners=False)
            out = self.model(
                pixel_values=(small - self.pixel_mean) / self.pixel_std,  # (B, 3, S, S)
                input_ids=self.tokens.repeat(len(image), 1),
                attention_mask=self.attention.repeat(len(image), 1),
            )
        probability = out.logits.sigmoid()[..., : len(self.share)]  # (B, Q, T)
        return {
            "detection_boxes": center_to_corners_format(out.pred_boxes) * size,
            "detection_scores": probability @ self.share,
        }


def _queries(tokenizer: Any, texts: list[list[str]], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One query a prompt: ids and mask (T, L), and each prompt's share of its finding's score (T, K)."""
    flat = [text for of_finding in texts for text in of_finding]
    tokens = tokenizer(flat, padding=True, return_tensors="pt")
    if tokens["input_ids"].shape[1] > length:
        raise ValueError(f"A prompt has more than the {length} tokens that this model reads; shorten {flat}.")
    share = torch.block_diag(*[torch.full((len(of_finding), 1), 1 / len(of_finding)) for of_finding in texts])
    return tokens["input_ids"], tokens["attention_mask"], share


def _caption(tokenizer: Any, texts: list[list[str]], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All prompts as one caption: ids and mask (1, T), and each token's share of its finding's score (T, K)."""
    caption, spans = "", []
    for finding, of_finding in enumerate(texts):
        for text in of_finding:
            phrase = text.strip().rstrip(".").lower()
            spans.append((finding, len(caption), len(caption) + len(phrase)))
            caption += f"{phrase}. "
    tokens = tokenizer(caption.strip(), return_offsets_mapping=True, return_tensors="pt")
    if tokens["input_ids"].shape[1] > length:
        raise ValueError(f"The caption has more than the {length} tokens that this model reads; shorten '{caption}'.")
    begin, end = tokens["offset_mapping"][0].unbind(-1)  # (T,) characters; special tokens are empty
    share = torch.zeros(len(begin), len(texts))
    for finding, first, last in spans:
        share[(begin >= first) & (end <= last) & (end > begin), finding] = 1
    return tokens["input_ids"], tokens["attention_mask"], share / share.sum(0)


def _image_constants(folder: Path) -> tuple[int, list[float], list[float]]:
    """The side of the model's input in pixels, and mean and standard deviation of its three channels on 0..1."""
    try:
        constants, _ = ImageProcessingMixin.get_image_processor_dict(str(folder), local_files_only=True)
    except OSError as error:
        raise FileNotFoundError(
            f"'{folder}' has no preprocessor_config.json (or processor_config.json); it belongs to the model's files."
        ) from error
    size, mean, std = (constants.get(key) for key in ("size", "image_mean", "image_std"))
    side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
    if not side or mean is None or std is None:
        raise ValueError(
            f"The image processor of '{folder}' has size {size}, image_mean {mean} and image_std {std}; all are wanted."
        )
    return int(side), list(mean), list(std)
