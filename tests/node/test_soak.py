"""The soak, short: what runs for a quarter of an hour by tests/node/soak.py, in the gate for seconds."""

import json
import logging

import pytest

from tests.node.soak import soak

logger = logging.getLogger(__name__)


@pytest.mark.slow
def test_sixty_objects_with_kills_and_a_dead_archive(tmp_path):
    outcome = soak(tmp_path, objects=60, minutes=2, kills=2, coming=0.07)
    logger.info("%s", json.dumps(outcome))
    assert sum(outcome["kinds"].values()) == 60
    assert outcome["node processes"] >= 3
