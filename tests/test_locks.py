"""The locks name what the requirements and constraints name, each package once and with its hashes."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock_requirements import CUDA, ROLES
from tests.lean import ROOT, needed, stated

# what only the build of torch for CUDA needs, and what torch needs and a new environment has already
UNCONSTRAINED = {"setuptools"}


def locked(role):
    """Name -> version; every entry is a version and hashes, and nothing else is in the file."""
    text = (ROOT / "locks" / f"{role}.txt").read_text()
    entry = r"[a-z0-9._-]+==[^\s;]+(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(rf"#[^\n]*\n(?:{entry})+", text), role
    found = [Requirement(line.removesuffix("\\")) for line in text.splitlines() if "==" in line.split(" ")[0]]
    names = [canonicalize_name(each.name) for each in found]
    assert len(set(names)) == len(names)
    return {name: str(each.specifier)[2:] for name, each in zip(names, found, strict=True)}


def versions(requirements):
    return {canonicalize_name(each.name): str(each.specifier)[2:] for each in requirements}


@pytest.mark.parametrize("role", ROLES)
def test_a_lock_is_what_its_requirements_and_the_constraints_say(role):
    requirements, all_needed = ROLES[role]
    lock, cuda, wanted = locked(role), locked("torch-cuda"), versions(stated(requirements))
    if not all_needed:
        assert lock == wanted
        return
    assert wanted.items() <= {**cuda, **lock}.items()
    assert not cuda.keys() & lock.keys()
    known = versions(stated("constraints.txt")) | wanted
    assert {name: known.get(name, version) for name, version in lock.items()} == lock
    assert lock.keys() <= known.keys() | UNCONSTRAINED
    installed = {canonicalize_name(name) for name in needed(stated(requirements))} - cuda.keys()
    assert lock.keys() - UNCONSTRAINED == installed - UNCONSTRAINED


def test_torch_is_locked_apart_with_what_cuda_needs_alone():
    cuda = locked("torch-cuda")
    assert cuda["torch"] == versions(stated("requirements-inference.txt"))["torch"]
    assert not [name for name, version in cuda.items() if not CUDA.match(f"{name}=={version}")]
