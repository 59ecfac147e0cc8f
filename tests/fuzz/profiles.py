"""How long is fuzzed: as CI does, the same examples every time; or, with FUZZ=N, N new ones of each kind."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, Phase, configuration, settings

configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))  # else it is the checkout
_NUMBER = int(os.environ.get("FUZZ", "0"))
# to look for the smallest example that fails takes minutes
_PHASES = [Phase.generate, *([Phase.shrink] if _NUMBER else [])]
_EVERY = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "phases": _PHASES}


def examples(number: int, **more: int) -> settings:
    """Settings of a test that takes seconds with this number of examples."""
    return settings(max_examples=_NUMBER or number, derandomize=not _NUMBER, **_EVERY, **more)
