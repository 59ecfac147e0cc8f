"""How many lesions an interval needs."""

from pathlib import Path

import pytest

from bundle.metrics.sample_size import interval_width, lesions_needed
from scripts.lesions_needed import main

ROOT = Path(__file__).resolve().parents[2]


def test_width_is_wilsons() -> None:
    z, p, n = 1.959963984540054, 0.8, 50
    expected = 2 * z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert interval_width(p, n) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("sensitivity", "width"), [(0.5, 0.2), (0.8, 0.1), (0.95, 0.1), (1.0, 0.2)])
def test_no_fewer_lesions_would_do(sensitivity: float, width: float) -> None:
    needed = lesions_needed(sensitivity, width)
    assert all(interval_width(sensitivity, needed + more) <= width for more in range(20))
    assert interval_width(sensitivity, needed - 1) > width


@pytest.mark.parametrize("arguments", [(1.1, 0.1), (0.5, 0.0), (0.5, 1e-4)])
def test_what_cannot_be_is_refused(arguments: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"sensitivity must lie|needs more than"):
        lesions_needed(*arguments)


def test_the_table_of_the_documentation_is_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    table = capsys.readouterr().out
    assert table.count("\n") == 7
    assert f"\n\n{table}\n" in (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
