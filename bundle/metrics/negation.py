"""Whether a network understands "no": prompt pairs "{finding}" and "no {finding}" against known labels.

Published vision-language models for chest X-rays score areas of .18-.49 on negated prompts, and the softmax over a pair
can rank images worse than its positive prompt alone; hence each is measured here by itself.

Logits are (I, K, 2), cosines or cosines times one scale: [..., FINDING] of "{finding}", [..., NEGATIVE] of
"no {finding}", as `bundle.prompt_pair` names them.
"""

import numpy as np
from numpy.typing import ArrayLike

from bundle.metrics.arrays import as_array
from bundle.metrics.classification import auroc
from bundle.metrics.draws import Draws
from bundle.metrics.labelled import check_labelled
from bundle.metrics.records import Floats
from bundle.prompt_pair import FINDING, NEGATIVE

PROMPT_SCORES = ("positive_only", "pair", "negated")
SIDES = {"on_negatives": 0.0, "on_positives": 1.0}
"""Of which images each accuracy is, by their label."""


def negation_accuracy(logits: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> dict[str, Floats]:
    """Sign of the pair's margin against the label: which prompt of its pair an image prefers.

        on_negatives = mean over y = 0 of [l- > l+] + [l- = l+] / 2,   on_positives = mean over y = 1, the other way,

    and `balanced`, the mean of the two. A network that prefers one side always has 1 on one class, 0 on the other, 1/2
    balanced. It is the accuracy at a pair probability of 1/2, not of a threshold that was tuned.

    Args:
        logits: (I, K, 2), finite wherever the label is known.
        label: (I, K) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        By name (K, C), the sample's first; NaN where there is no image of the class.

    Raises:
        ValueError: where shapes do not fit, a label is none of the three, or the logit of a labelled image is not
            finite.
    """
    scores, labels = _checked(logits, label)
    draws = Draws.alone(len(labels)) if draws is None else draws
    right = (np.sign(scores["pair"]) + 1) / 2  # 1 where "{finding}" is preferred, 1/2 where neither is
    sides = {}
    for name, value in SIDES.items():
        credit = np.where(labels == value, right if value else 1 - right, np.nan)  # (I, K)
        sides[name] = np.stack([draws.mean(column) for column in credit.T])
    return sides | {"balanced": np.mean([*sides.values()], 0)}


def prompt_auroc(logits: ArrayLike, label: ArrayLike, draws: Draws | None = None) -> dict[str, Floats]:
    """Areas under the ROC curve of the prompts of a pair (`bundle.metrics.classification.auroc`); 1/2 is chance.

    `positive_only`: "{finding}" ranks images with the finding above those without; `pair`: the margin between the two
    prompts does; `negated`: "no {finding}" ranks images *without* the finding above those with. Below 1/2 the "no" is
    not read: the prompt still looks for the finding.

    Args:
        logits: (I, K, 2), finite wherever the label is known.
        label: (I, K) 1, 0 or NaN (unknown), which is left out.
        draws: of the images; None for the sample alone.

    Returns:
        By the names in `PROMPT_SCORES` (K, C), the sample's first; NaN in columns that lack a class.

    Raises:
        ValueError: as `negation_accuracy`.
    """
    scores, labels = _checked(logits, label)
    wanted = {name: 1 - labels if name == "negated" else labels for name in PROMPT_SCORES}
    return {
        name: np.stack([auroc(values, y, draws) for values, y in zip(scores[name].T, wanted[name].T, strict=True)])
        for name in PROMPT_SCORES
    }


def prompt_scores(logits: ArrayLike) -> dict[str, Floats]:
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


def _checked(logits: ArrayLike, label: ArrayLike) -> tuple[dict[str, Floats], Floats]:
    scores = prompt_scores(logits)
    for name in ("positive_only", "negated", "pair"):
        _, labels = check_labelled(scores[name], label)
    return scores, labels
