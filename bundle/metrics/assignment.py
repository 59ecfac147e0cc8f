"""Which of the candidates that hit a lesion is the one that counts, where each may count once."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def one_to_one(
    hits: NDArray[np.bool_], score: NDArray[np.float64], overlap: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best one-to-one matching of candidates to lesions, by the Hungarian method.

    Most lesions first; of such matchings the highest scores; of those the largest overlaps. Only the order of the
    scores matters. At every threshold t the candidates with score >= t find as many lesions as any matching of theirs
    could: sets of candidates that can be matched form a transversal matroid, whose heaviest basis is heaviest above
    every t. So curves need no matching of their own at each point.

    Args:
        hits: (M, N) whether candidate i hits lesion j; M, N > 0.
        score: (M,) of the candidates.
        overlap: (M, N) in [0, 1].

    Returns:
        Places of the matched candidates, and of their lesions.
    """
    most = min(hits.shape)
    rank = np.unique(score, return_inverse=True)[1][:, None]
    # the overlaps of all pairs sum to less than one rank, the ranks of all to less than one pair
    weight = (rank.max() + 1) * most + rank + overlap / (most + 1)
    candidate, lesion = linear_sum_assignment(np.where(hits, weight, 0.0), maximize=True)
    real = hits[candidate, lesion]
    return candidate[real], lesion[real]
