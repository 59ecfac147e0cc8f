"""The benchmark runs, on little data, and prints a row a figure."""

from scripts.benchmark_metrics import main


def test_the_table(capsys):
    main(markdown=True, images=12, repeats=1, monai_repeats=1, batch=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| what")
    assert set(lines[1]) <= set("|-")
    assert len(lines) == 7
    assert "against MONAI's" in lines[2]
    assert all(line.count("|") == 4 for line in lines)
