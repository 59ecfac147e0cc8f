"""What a caption's words alone say of its truth: the baseline of a model that never sees an image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from bundle.metrics.records import Floats


class CaptionPrior:
    """Logistic regression on a caption's words and pairs of words: whether it is some region's, or a hard negative.

    Fitted on how often each text stands as a caption, and as a negative, in the training section. What it knows is how
    the negatives were made ("no ..." is never true of a region) and what is usual of a finding (a mass is seldom
    small). A network must do better than this to have looked.

    Args:
        items: of the training section, with `caption_id` (N,) and `negative_id` (N, M), -1 for none
            (`bundle.data.texts.text_data`).
        texts: by their numbers.

    Raises:
        ValueError: there are no captions, or no negatives.
    """

    def __init__(self, items: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> None:
        weights: list[int] = []
        words: list[str] = []
        labels: list[int] = []
        for label, key in enumerate(("negative_id", "caption_id")):
            numbers = Counter(int(number) for item in items for number in np.ravel(item[key]) if number >= 0)
            if not numbers:
                raise ValueError(f"CaptionPrior: found no {key} in {len(items)} items; there is nothing to learn from.")
            words += [texts[number] for number in numbers]
            weights += numbers.values()
            labels += [label] * len(numbers)
        self._features = CountVectorizer(analyzer=_words_and_pairs, binary=True)
        self._model = LogisticRegression(max_iter=1000)
        self._model.fit(self._features.fit_transform(words), labels, sample_weight=weights)

    def scores(self, texts: Sequence[str]) -> Floats:
        """Log odds of being a caption, up to a constant: (T,)."""
        odds: Floats = self._model.decision_function(self._features.transform(texts))
        return odds


def _words_and_pairs(text: str) -> list[str]:
    words = sorted(set(text.split()))
    return [*words, *(f"{a} {b}" for a, b in combinations(words, 2))]
