"""Folds and splits by group: disjoint, balanced, and the same every time."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from bundle.data.folds import assign_folds, hash_order, split_by_hash


@pytest.fixture
def members():
    """200 groups with 1 to 4 members of four classes, the last of them rare."""
    rng = np.random.default_rng(0)
    groups = np.repeat([f"g{n}" for n in range(200)], rng.integers(1, 5, 200)).tolist()
    return groups, rng.choice(["a", "b", "c", "d"], len(groups), p=[0.5, 0.3, 0.15, 0.05]).tolist()


def test_folds_hold_as_many_members_of_each_class(members):
    groups, classes = members
    fold = assign_folds(groups, classes)
    assert fold.keys() == set(groups)
    assert set(fold.values()) == {0, 1, 2, 3, 4}
    for name, total in Counter(classes).items():
        counts = Counter(fold[group] for group, each in zip(groups, classes, strict=True) if each == name)
        assert max(counts.values()) - min(counts[n] for n in range(5)) <= max(2, 0.05 * total), (name, counts)


def test_folds_do_not_depend_on_the_order_of_members(members):
    groups, classes = members
    order = np.random.default_rng(1).permutation(len(groups))
    assert assign_folds([groups[i] for i in order], [classes[i] for i in order]) == assign_folds(groups, classes)


def test_a_class_rarer_than_the_folds_is_no_warning():
    fold = assign_folds(list("abcdefg"), ["common"] * 5 + ["rare"] * 2)
    assert len(set(fold.values())) == 5


@pytest.mark.parametrize(
    ("groups", "classes", "folds", "message"),
    [
        ("abcd", "xxxx", 5, "Found 4 groups"),
        ("abcdefgh", "xxyyzzuu", 3, "at most 2 members of one class"),
        ("ab", "xx", 1, "Found 1 folds"),
        ("ab", "x", 2, "2 groups and 1 classes"),
        ("", "", 2, "Found 0 groups"),
    ],
)
def test_folds_that_cannot_be(groups, classes, folds, message):
    with pytest.raises(ValueError, match=message):
        assign_folds(list(groups), list(classes), folds)


def test_hash_order_is_sha256():
    assert hash_order("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_a_split_follows_its_shares_and_each_group_alone():
    groups = [str(n) for n in range(20_000)]
    shares = {"training": 0.7, "validation": 0.1, "test": 0.2}
    section = split_by_hash(groups, shares)
    counts = Counter(section.values())
    for name, share in shares.items():
        assert counts[name] / len(groups) == pytest.approx(share, abs=4 * (share * (1 - share) / len(groups)) ** 0.5)
    assert split_by_hash(groups[5:50], shares).items() <= section.items()
    assert split_by_hash(groups, shares, seed=1) != section
    u = int(hashlib.sha256(b"0:7").hexdigest(), 16) / 2**256
    assert section["7"] == ("training" if u < 0.7 else "validation" if u < 0.8 else "test")


def test_an_empty_share_gets_no_one():
    assert set(split_by_hash([str(n) for n in range(1000)], {"a": 0, "b": 1, "c": 0}).values()) == {"b"}


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.2, "b": -0.2}, {}])
def test_shares_that_cannot_be(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_hash(["x"], shares)
