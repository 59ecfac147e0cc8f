"""What is printed of a step's memory and time: the table of docs/scaling.md."""

import pytest

from scripts import scaling_model
from tests.checkout import ROOT


def test_the_models_table_is_what_the_script_prints(capsys):
    scaling_model.main(markdown=True)
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "scaling.md").read_text()


def test_what_sharing_the_optimizer_saves_is_what_the_model_says():
    network, document = scaling_model.NETWORKS[1], (ROOT / "docs" / "scaling.md").read_text()
    alone, shared = (scaling_model.memory(network, 64, shares) for shares in (1, 8))
    states = 8 * (scaling_model.HEADS + scaling_model.TOWER) / 1e9
    assert alone - shared == pytest.approx(states * 7 / 8)
    plain, more = (scaling_model.sent(network, 8, 64, sharded)[0] for sharded in (False, True))
    words = " ".join(document.split())
    assert f"has {states:.1f} GB of AdamW's states of {alone:.1f} GB: with eight GPUs it is {shared:.1f} GB" in words
    assert f"a step sends {more:,.0f} MB for {plain:,.0f}" in words
    trained = scaling_model.HEADS + scaling_model.TOWER
    assert f"they are {4 * (trained + scaling_model.TEXT) / 1e9:.1f} and {4 * trained / 1e9:.1f} GB there" in words
