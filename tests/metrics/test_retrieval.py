"""Retrieval: drawn vectors, loops, duplicated texts, ties."""

import numpy as np
import pytest
import torch

from bundle.metrics import retrieval
from bundle.metrics.retrieval import image_to_report, report_to_image, retrieve


def unit(*angles: float) -> np.ndarray:
    """Vectors in the plane by angle in degrees."""
    turn = np.radians(angles)
    return np.stack([np.cos(turn), np.sin(turn)], -1)


def random_pairs(n: int, seed: int, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    report = rng.normal(size=(n, dim))
    image = report + rng.normal(size=(n, dim))
    return tuple(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (image, report))


def slow_ranks(query: np.ndarray, gallery: np.ndarray, text: list) -> list[int]:
    ranks = []
    for i, vector in enumerate(query):
        best = max(float(vector @ gallery[j]) for j in range(len(gallery)) if text[j] == text[i])
        better = [j for j in range(len(gallery)) if text[j] != text[i] and float(vector @ gallery[j]) >= best]
        ranks.append(1 + len(better))
    return ranks


def test_by_hand():
    image, report = unit(0, 90, 40), unit(10, 80, 85)
    there = image_to_report(image, report, ranks=(1, 2, 3))
    # image 2 at 40 degrees: its report at 85 is 45 away; that at 10 is 30 away, that at 80 is 40 away
    # image 1 at 90: its report at 80 is 10 away, that at 85 is 5 away
    assert there.rank.tolist() == [1, 2, 3]
    assert there.recall == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 3: 1}
    assert there.median_rank == 2
    assert (there.gallery_size, there.distinct_texts) == (3, 3)
    back = report_to_image(image, report, ranks=(1,))
    assert back.rank.tolist() == [1, 1, 2]  # the report at 85 is 5 from image 1, 45 from its own


def test_copies_of_a_text_are_one_text():
    image, report = unit(0, 90, 40), unit(10, 80, 80)
    assert image_to_report(image, report).rank.tolist() == [1, 2, 3]  # each its own: the copies tie
    shared = image_to_report(image, report, text_id=["normal", "effusion", "effusion"])
    assert shared.rank.tolist() == [1, 1, 2]  # either copy will do, and the other does not push
    assert (shared.gallery_size, shared.distinct_texts) == (3, 2)
    assert report_to_image(image, report, text_id=[0, 1, 1]).rank.tolist() == [1, 1, 1]  # either image will do


@pytest.mark.parametrize("chunk", [1 << 22, 100])
@pytest.mark.parametrize("texts", [1, 7, 1000])
def test_equals_the_same_in_loops(texts, chunk, monkeypatch):
    monkeypatch.setattr(retrieval, "_CHUNK", chunk)
    image, report = random_pairs(60, texts)
    text = np.random.default_rng(0).integers(texts, size=60)
    there, back = image_to_report(image, report, text), report_to_image(image, report, text)
    assert there.rank.tolist() == slow_ranks(image, report, text)
    assert back.rank.tolist() == slow_ranks(report, image, text)
    assert there.recall[5] == np.mean([rank <= 5 for rank in slow_ranks(image, report, text)])
    assert there.distinct_texts == len(set(text.tolist()))


def test_a_network_that_says_the_same_of_all_finds_nothing():
    same = np.tile(random_pairs(1, 3, 300)[0], (50, 1))
    result = image_to_report(same, same)
    assert result.rank.tolist() == [50] * 50
    assert result.recall == {1: 0, 5: 0, 10: 0}


def test_tensors_and_one_pair():
    vectors = torch.nn.functional.normalize(torch.rand(1, 8), dim=-1)
    result = image_to_report(vectors, vectors)
    assert (result.recall[1], result.median_rank, result.gallery_size) == (1, 1, 1)


@pytest.mark.parametrize(
    ("image", "report", "options", "message"),
    [
        (unit(0, 1), unit(0), {}, "in pairs"),
        (unit(0), unit(0), {"ranks": ()}, "ranks must"),
        (unit(0), unit(0), {"ranks": (0, 1)}, "ranks must"),
        (unit(0), unit(0), {"text_id": [1, 2]}, "text_id of shape"),
        (np.zeros((0, 3)), np.zeros((0, 3)), {}, "above 0"),
        (unit(0, np.nan), unit(0, 1), {}, "image embedding of row 1 is not finite"),
        (unit(0, 1), unit(0, 1) * [[1], [2]], {}, "report embedding of row 1 has length 2"),
    ],
)
def test_faults(image, report, options, message):
    with pytest.raises(ValueError, match=message):
        image_to_report(image, report, **options)


def test_a_gallery_of_its_own():
    query, gallery = unit(0, 90, 0), unit(20, 10, 95)
    found = retrieve(query, gallery, ["mass", "effusion", "nodule"], ["mass", "nodule", "effusion"])
    assert found.rank.tolist() == [2, 1, 1]
    assert (found.gallery_size, found.distinct_texts) == (3, 3)
    assert retrieve(query, gallery[:2], [1, 1, 1], [1, 0]).rank.tolist() == [2, 1, 2]
    with pytest.raises(ValueError, match="carries the text of query 1"):
        retrieve(query, gallery, [0, 9, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="3 embeddings but texts of shape"):
        retrieve(query, gallery, [0, 1, 2], [0, 1])
