"""The benchmark of a training's start runs, on few entries, with and without the table."""

from scripts.benchmark_datalist import main


def test_the_benchmark_starts_both_ways(capsys):
    main(entries=30, few=0, whole=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "30, no table" in lines[-1]
    assert all(" s" in line and " MiB" in line for line in lines[1:])
