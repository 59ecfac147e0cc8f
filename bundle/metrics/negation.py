"""Whether a network understands "no": prompt pairs "{finding}" and "no {finding}" against known labels.

Published vision-language models for chest X-rays score areas of .18-.49 on negated prompts, and the softmax over a pair
can rank images worse than its positive prompt alone; hence each is measured here by itself.

Logits are (I, K, 2), cosines or cosines times one scale: [..., FINDING] of "{finding}", [..., NEGATIVE] of
"no {finding}", as `bundle.prompt_pair` names them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from bundle.metrics.arrays import as_array
from bundle.metrics.classification import auroc
from bundle.metrics.labelled import check_labelled
from bundle.metrics.records import Floats
from bundle.prompt_pair import FINDING, NEGATIVE

PROMPT_SCORES = ("positive_only", "pair", "negated")

Scores = torch.Tensor | ArrayLike


@dataclass(frozen=True)
class NegationAccuracy:
    """Which prompt of its pair an image prefers, per finding.

    Attributes:
        on_negatives: (K,) share of the images without the finding that prefer "no {finding}"; NaN without any.
        on_positives: (K,) share of the images with it that prefer "{finding}"; NaN without any.
        balanced: (K,) mean of the two; NaN where either is.
        reasons: K, why something is undefined, or None.
    """

    on_negatives: Floats
    on_positives: Floats
    balanced: Floats
    reasons: tuple[str | None, ...]


@dataclass(frozen=True)
class PromptAUROC:
    """Areas under the ROC curve of the prompts of a pair, per finding; 1/2 is chance.

    Attributes:
        positive_only: (K,) "{finding}" ranks images with the finding above those without.
        pair: (K,) the margin between the two prompts does.
        negated: (K,) "no {finding}" ranks images *without* the finding above those with. Below 1/2 the "no" is not
            read: the prompt still looks for the finding.
        reasons: K, why all three are undefined (NaN), or None.
    """

    positive_only: Floats
    pair: Floats
    negated: Floats
    reasons: tuple[str | None, ...]


def negation_accuracy(logits: Scores, label: Scores) -> NegationAccuracy:
    """Sign of the pair's margin against the label.

        on_negatives = mean over y = 0 of [l- > l+] + [l- = l+] / 2,   on_positives = mean over y = 1, the other way

    A network that prefers one side always has 1 on one class, 0 on the other, 1/2 balanced. It is the accuracy at a
    pair probability of 1/2, not of a threshold that was tuned.

    Args:
        logits: (I, K, 2), finite wherever the label is known.
        label: (I, K) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The accuracies.

    Raises:
        ValueError: where shapes do not fit, a label is none of the three, or the logit of a labelled image is not
            finite.
    """
    scores, labels = _checked(logits, label)
    right = (np.sign(scores["pair"]) + 1) / 2  # 1 where "{finding}" is preferred, 1/2 where neither is
    sides = []
    for value, credit in ((0.0, 1 - right), (1.0, right)):
        mine = labels == value
        with np.errstate(invalid="ignore"):  # no image of the class: 0 / 0 is NaN, as it should be
            sides.append(np.where(mine, credit, 0.0).sum(0) / mine.sum(0))
    on_negatives, on_positives = sides
    reasons = [
        " and ".join(f"no {name} images" for name, side in (("negative", n), ("positive", p)) if np.isnan(side)) or None
        for n, p in zip(on_negatives, on_positives, strict=True)
    ]
    return NegationAccuracy(on_negatives, on_positives, (on_negatives + on_positives) / 2, tuple(reasons))


def prompt_auroc(logits: Scores, label: Scores) -> PromptAUROC:
    """`bundle.metrics.classification.auroc` of each score in `prompt_scores`, per finding.

    For intervals give the same scores to `bundle.metrics.bootstrap.auroc_replicates`, for `negated` with the classes
    exchanged.

    Args:
        logits: (I, K, 2), finite wherever the label is known.
        label: (I, K) 1, 0 or NaN (unknown), which is left out.

    Returns:
        The areas.

    Raises:
        ValueError: as `negation_accuracy`.
    """
    scores, labels = _checked(logits, label)
    findings = range(labels.shape[1])
    both = [auroc(scores["pair"][:, k], labels[:, k]) for k in findings]
    return PromptAUROC(
        positive_only=np.array([auroc(scores["positive_only"][:, k], labels[:, k])[0] for k in findings]),
        pair=np.array([area for area, _ in both]),
        negated=np.array([auroc(scores["negated"][:, k], 1 - labels[:, k])[0] for k in findings]),
        reasons=tuple(reason for _, reason in both),
    )


def prompt_scores(logits: Scores) -> dict[str, Floats]:
    """The scores that a pair of prompts offers.

    Args:
        logits: (I, K, 2).

    Returns:
        By the names in `PROMPT_SCORES`, (I, K) each: l+ (`positive_only`), l+ - l- (`pair`: it ranks as the softmax
        over the pair does, without its rounding near 0 and 1), l- (`negated`).

    Raises:
        ValueError: where there is no axis of pairs.
    """
    values = as_array(logits)
    if values.ndim != 3 or values.shape[-1] != 2:
        raise ValueError(f"logits must be (I, K, 2), got {values.shape}")
    positive, negative = values[..., FINDING], values[..., NEGATIVE]
    with np.errstate(invalid="ignore"):  # inf - inf, where the label is unknown
        return {"positive_only": positive, "pair": positive - negative, "negated": negative}


def _checked(logits: Scores, label: Scores) -> tuple[dict[str, Floats], Floats]:
    scores = prompt_scores(logits)
    for name in ("positive_only", "negated", "pair"):
        _, labels = check_labelled(scores[name], label)
    return scores, labels
