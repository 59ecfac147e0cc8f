"""What a tracked run was made from: the code's commit, and the data by their fingerprint."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_MADE_FOR = {"datalist", "section", "findings"}


def commit_tags(root: Path = ROOT) -> dict[str, str]:
    """The commit of a checkout as MLflow's own tag, and whether files that it tracks are changed.

    Empty where there is none: no checkout, no git, or one that git does not trust.
    """
    if not (root / ".git").exists():  # not a repository around it, which is another's
        return {}
    commit, changed = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    if not commit or changed is None:
        return {}
    return {"mlflow.source.git.commit": commit, "source.changed": str(bool(changed)).lower()}


def data_of(resolved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data of a run, each once: `name` (sections), `digest` (of the datalist) and `profile` (findings).

    Args:
        resolved: id -> value of the configuration; what `bundle.made_for.made_for` gave is known by its keys.
    """
    found = []
    for value in resolved.values():
        if isinstance(value, dict) and value.keys() == _MADE_FOR and isinstance(value["section"], list):
            name, profile = ", ".join(value["section"]), {"findings": value["findings"]}
            entry = {"name": name, "digest": str(value["datalist"]), "profile": profile}
            found += [entry] if entry not in found else []
    return found


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where it does not work."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
