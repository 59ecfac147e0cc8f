"""What words alone say: of how negatives are made, of what is usual, and of captions never seen."""

import numpy as np
import pytest

from bundle.comparison.caption_prior import CaptionPrior
from bundle.data.texts import TextList


def prior(true, false):
    """Fitted on captions and negatives by how often they stand."""
    texts = TextList([*true, *false])
    own = [texts.add(text) for text, n in true.items() for _ in range(n)]
    wrong = [texts.add(text) for text, n in false.items() for _ in range(n)]
    items = [{"caption_id": np.array(own[::2]), "negative_id": np.array([[-1]])}]
    items.append({"caption_id": np.array([*own[1::2], -1]), "negative_id": np.array(wrong)[:, None]})
    return CaptionPrior(items, texts)


def test_what_a_negation_gives_away_it_knows_also_of_another_caption():
    mass = prior({"left mass": 5, "right mass": 5}, {"no left mass": 5, "no right mass": 5})
    seen, unseen = mass.scores(["left mass", "no left mass"]), mass.scores(["left nodule", "no left nodule"])
    assert seen[0] > seen[1] + 1
    assert unseen[0] > unseen[1] + 1


def test_what_is_usual_of_one_finding_is_not_of_another():
    usual = prior(
        {"small nodule": 30, "large nodule": 3, "small mass": 3, "large mass": 30},
        {"small nodule": 10, "large nodule": 10, "small mass": 10, "large mass": 10},
    )
    small, large = usual.scores(["small nodule", "large nodule"]), usual.scores(["small mass", "large mass"])
    assert small[0] > small[1] + 1
    assert large[1] > large[0] + 1


def test_sides_that_are_swapped_evenly_say_nothing():
    even = prior({"left mass": 10, "right mass": 10}, {"left mass": 10, "right mass": 10})
    assert np.ptp(even.scores(["left mass", "right mass"])) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("true", "false", "missing"), [({}, {"no mass": 1}, "caption_id"), ({"mass": 1}, {}, "negat")])
def test_nothing_to_learn_from(true, false, missing):
    with pytest.raises(ValueError, match=f"found no {missing}"):
        prior(true, false)
