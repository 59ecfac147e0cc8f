"""Scripts around exports and DICOM results take what their documentation and fire give them."""

import re
from pathlib import Path

import fire
import pytest
import torch

from scripts import benchmark, benchmark_exports, copy_rg1

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("argument", "sizes"), [("1", [1]), ("1,8", [1, 8]), ("[8]", [8])])
def test_one_batch_size_is_enough(monkeypatch, capsys, argument, sizes):
    seen: list[int] = []

    def network(image: torch.Tensor) -> None:
        seen.append(len(image))

    monkeypatch.setattr(benchmark_exports, "_ways", lambda *_: (8, {benchmark_exports.REFERENCE: network}))
    command = ["exports", "--bundle", "b", "--exports", "e", "--batches", argument, "--repeats", "1"]
    fire.Fire(benchmark.main, command=command)
    assert list(dict.fromkeys(seen)) == sizes
    assert capsys.readouterr().out.count("images/s") == len(sizes)


@pytest.mark.parametrize(
    "text", [copy_rg1.__doc__, (ROOT / "docs" / "benchmarks.md").read_text()], ids=["help", "docs"]
)
def test_rg1_is_copied_by_the_command_that_is_documented(tmp_path, text):
    (arguments,) = re.findall(r"python -m scripts\.copy_rg1( --output)?", text)
    fire.Fire(copy_rg1.main, command=[*arguments.split(), str(tmp_path)] if arguments else [])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(copy_rg1.FILES)
