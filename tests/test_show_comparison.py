"""What the table of a comparison says where a figure is not a number."""

from scripts.show_comparison import methods_table

OWN, MATCHED = "compare/B/mean/fp_at_own_sens_at_1fp/ratio", "compare/B/mean/fp_at_reference_sens_at_1fp"


def _cells(metrics: dict[str, float | None], notes: dict[str, str]) -> list[str]:
    about = {"reference": "A", "methods": {"A": {"supervision": "boxes"}, "B": {"supervision": "none"}}, "notes": notes}
    return methods_table(metrics, about).splitlines()[3].split(" | ")


def test_a_curve_that_ends_below_and_a_ratio_without_end() -> None:
    ends = {"compare/B/mean/curve_end": 0.7, "compare/B/mean/fp_at_curve_end": 3.0}
    why = {MATCHED: "plus infinity: sensitivity 0.9 is never reached"}
    cells = _cells({MATCHED: None, OWN: 0.5, f"{OWN}/low": 0.25, f"{OWN}/high": None, **ends}, why)
    assert cells[4:6] == ["never: ends at 0.70 with 3.0", "0.50 (0.25 to ∞)"]
    cells = _cells({OWN: None}, {OWN: "plus infinity: B has no false positive at the sensitivity"})
    assert cells[4:6] == ["-", "∞"]
