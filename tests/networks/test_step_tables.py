"""What is printed of a step's memory and time: the table of docs/scaling.md."""

from scripts import scaling_model
from tests.checkout import ROOT


def test_the_models_table_is_what_the_script_prints(capsys):
    scaling_model.main(markdown=True)
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "scaling.md").read_text()
