"""Questions about an image, answered from a vocabulary, on the tokens of a frozen tower. This file only composes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.comments import without_comments
from bundle.networks.answer_head import AnswerHead
from bundle.networks.frozen_tower import FrozenTower
from bundle.networks.named_state import names_from_state, names_to_tensor
from bundle.networks.text_bank import TextBank

_SAME = 1e-8  # variance of what does not differ: close texts, as unit vectors, have less than batch norm's usual 1e-5


class VQANetwork(nn.Module):
    """Question answering as classification over the answers that training knows: logits = head(standard(t), x).

    With x the tokens of the image (`FrozenTower`) and t the embedding of the question by the tower's text encoder,
    frozen too. standard(t) is a batch norm over the questions: those of one template lie close together, and only what
    differs between them says what is asked.

    `blind` is the language-only baseline: the same head and questions, and no image. What it gets right is not owed to
    looking.

    Source: VQA as classification is a task of RegionMed-CLIP (arXiv 2508.05244v1), whose head is not described; this is
    ours. The baseline: Goyal et al., "Making the V in VQA matter", CVPR 2017.

    Symbols: B images, Q questions of each, A answers.

    Args:
        tower: the frozen network.
        tokenizer: of its text tower.
        questions: number -> text (`bundle.data.question_batch.question_texts`).
        answers: the A answers. They are kept with the weights, so that these are never read for another list.
        head: arguments of `AnswerHead`.
        blind: see above.

    Raises:
        ValueError: no questions or answers; a network without text tower.
    """

    number: torch.Tensor
    question_mean: torch.Tensor
    question_variance: torch.Tensor

    def __init__(
        self,
        tower: FrozenTower,
        tokenizer: Any,
        questions: Mapping[int, str],
        answers: Sequence[str],
        head: Mapping[str, Any] | None = None,
        blind: bool = False,
    ) -> None:
        super().__init__()
        clip = tower.network.clip
        if clip.text is None:
            raise ValueError("VQANetwork: the network has no text tower; it cannot read questions.")
        if not questions or not answers:
            raise ValueError(f"VQANetwork: there are {len(questions)} questions and {len(answers)} answers to learn.")
        self.tower, self.answers, self.blind = tower, list(answers), blind
        self.bank = TextBank(list(questions.values()), tokenizer, clip.text, clip.context_length)
        number = torch.full((max(questions) + 2,), -1)  # the last place is that of -1, no question
        number[list(questions)] = torch.arange(len(questions))
        self.register_buffer("number", number, persistent=False)
        self.register_buffer("question_mean", torch.zeros(clip.embedding_dim))
        self.register_buffer("question_variance", torch.ones(clip.embedding_dim))
        self.head = AnswerHead(
            clip.embedding_dim, tower.width, len(self.answers), blind=blind, **without_comments(head)
        )

    def forward(
        self, image: torch.Tensor, question_id: torch.Tensor, index: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Answer questions.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            question_id: (B, Q) int64, numbers of the questions' texts; -1 is padding. Q may be 0.
            index: (B,) int64, the images' numbers, for what the tower keeps.

        Returns:
            `answer_logits`: float32 (B, Q, A); of padding without meaning.

        Raises:
            ValueError: a number that is no question's.
        """
        tokens = None if self.blind else self.tower(image, index)
        return {"answer_logits": self.head(self._read(question_id), tokens)}

    def _read(self, question_id: torch.Tensor) -> torch.Tensor:
        """(B, Q) -> (B, Q, D), the standardised text; 0 for padding."""
        asked = question_id >= 0
        number = self.number[question_id.clamp(max=len(self.number) - 1)]
        if (number[asked] < 0).any():
            raise ValueError("VQANetwork: asked for a number that is no question's; give those of all sections.")
        text = self.bank(number)
        own = text[asked]  # (n, D)
        batch = self.training and len(own) > 1  # one question has no variance
        own = F.batch_norm(own, self.question_mean, self.question_variance, training=batch, eps=_SAME)
        return text.masked_scatter(asked[..., None], own)

    def get_extra_state(self) -> torch.Tensor:
        """The answers go with the weights."""
        return names_to_tensor(self.answers)

    def set_extra_state(self, state: torch.Tensor | Mapping[str, list[str]]) -> None:
        """Refuse weights of other answers."""
        answers = names_from_state(state)
        if answers != self.answers:
            raise ValueError(
                f"These weights know {len(answers)} answers, which are not the {len(self.answers)} of this "
                "configuration, or not in this order: give the datalist and training section that they were trained on."
            )
