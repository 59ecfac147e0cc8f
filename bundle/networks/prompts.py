"""Prompt pairs: what each finding is called, present and absent."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import torch
import torch.nn.functional as F

from bundle.prompt_pair import FINDING, NEGATIVE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompts:
    """Templates of the prompt pairs.

    Several prompts on one side are averaged: t = norm(mean_i norm(text(prompt_i))).

    Attributes:
        findings: the K names, in the network's order.
        positive: templates with `{finding}`; the paper's is the bare name.
        negative: templates with `{finding}`; the paper's is "no {finding}".
        names: what a prompt calls a finding, where it is not its name in lower case, for example
            {"Effusion": "pleural effusion"}. One of a finding that is not in the list has no effect, so that a
            configuration's names need not follow every list; one that looks like a misspelt finding is refused.

    Raises:
        ValueError: no finding, a finding named twice, a misspelt one in `names`, or a template without {finding}.
    """

    findings: Sequence[str]
    positive: Sequence[str] = ("{finding}",)
    negative: Sequence[str] = ("no {finding}",)
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise ValueError(f"findings must be a non-empty list without repeats; found {list(self.findings)}.")
        known = {finding.lower(): finding for finding in self.findings}
        for name in sorted(set(self.names) - set(self.findings)):
            if near := get_close_matches(name.lower(), known, n=1):
                raise ValueError(f"prompts.names has '{name}', which is no finding; did you mean '{known[near[0]]}'?")
            logger.info("prompts.names: %s is not among the findings, its name is not used.", name)
        for side, templates in (("positive", self.positive), ("negative", self.negative)):
            if not templates or any("{finding}" not in t for t in templates):
                raise ValueError(f"prompts.{side} is {list(templates)}; give templates that hold '{{finding}}'.")

    def texts(self) -> list[list[list[str]]]:
        """All prompts: K findings x 2 sides (NEGATIVE, FINDING) x templates."""
        sides = {NEGATIVE: self.negative, FINDING: self.positive}
        return [
            [[t.format(finding=self.names.get(f, f.lower())) for t in sides[side]] for side in (NEGATIVE, FINDING)]
            for f in self.findings
        ]


def average_prompts(embeddings: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Average the embeddings of each side's prompts.

    Args:
        embeddings: (N, D), in the order of `Prompts.texts`, flattened.
        counts: how many prompts each of the 2K sides has; sums to N.

    Returns:
        (K, 2, D), unit length.
    """
    sides = [F.normalize(part.float(), dim=-1).mean(0) for part in embeddings.split(list(counts))]
    return F.normalize(torch.stack(sides), dim=-1).unflatten(0, (-1, 2))
