"""The head that answers questions: a question looks at image tokens and chooses among the answers."""

import torch
from torch import nn


class AnswerHead(nn.Module):
    """Cross-attention from questions to an image, then a classifier.

    With t the text of a question and x the tokens of the image,

        q <- W_q t,  v = LN(W_v x);
        q <- q + Attention(query = LN(q), keys and values = v);  q <- q + MLP(LN(q))      for each layer;
        logits = W_2 gelu(W_1 LN(q)), one an answer.

    The questions of an image do not see each other. `blind` replaces W_v x by one learned vector: the same head, which
    knows the questions and how often each answer is right, and nothing of the image.

    Args:
        text_dim: D of the questions.
        image_dim: W of the image tokens.
        num_answers: A.
        width: of the head, divisible by `num_heads`.
        num_heads: of the attention.
        layers: how often a question looks.
        dropout: on attention weights, inside the MLPs and before the answer.
        blind: see above.
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        num_answers: int,
        width: int = 128,
        num_heads: int = 4,
        layers: int = 1,
        dropout: float = 0.1,
        blind: bool = False,
    ) -> None:
        super().__init__()
        self.question = nn.Linear(text_dim, width)
        self.blank = nn.Parameter(torch.randn(width)) if blind else None
        self.image = None if blind else nn.Linear(image_dim, width)
        self.image_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([_Ask(width, num_heads, dropout) for _ in range(layers)])
        self.answer = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, num_answers),
        )

    def forward(self, text: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """Answer questions.

        Args:
            text: (B, Q, D), the questions.
            tokens: (B, n, W), of the image; not looked at if blind.

        Returns:
            float32 (B, Q, A) logits.

        Raises:
            ValueError: there are no tokens to look at.
        """
        question = self.question(text)  # (B, Q, width)
        image = self._look(tokens, len(text))
        for ask in self.layers:
            question = ask(question, image)
        return self.answer(question).float()

    def _look(self, tokens: torch.Tensor | None, batch: int) -> torch.Tensor:
        """(B, n, width), or (B, 1, width) if blind."""
        if self.blank is not None:
            return self.image_norm(self.blank).expand(batch, 1, -1)
        if self.image is None or tokens is None:
            raise ValueError("AnswerHead: give the image's tokens; only a blind head answers without.")
        return self.image_norm(self.image(tokens))


class _Ask(nn.Module):
    """One layer: cross-attention, then an MLP."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads, dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, question: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Questions (B, Q, width), image tokens (B, n, width) -> (B, Q, width)."""
        seen, _ = self.attention(self.norm(question), image, image, need_weights=False)
        question = question + seen
        return question + self.mlp(question)
