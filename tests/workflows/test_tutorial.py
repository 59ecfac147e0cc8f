"""docs/tutorial.md as a new user does it: ten DICOM files, a table, a folder of CLIP; every command, in its order."""

import csv
import json
import re
import shlex
import sys

import numpy as np
import pytest
import transformers

from tests.tiny import write_dicom
from tests.workflows.conftest import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = re.findall(r"^    (python -m .+)$", PAGE, re.MULTILINE)


@pytest.fixture
def own(place):
    """The tutorial's folder in a checkout: every second image has a mass, every third an effusion."""
    folder = place.bare_checkout() / "own"
    (folder / "images").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for number in range(10):
        pixels, name = rng.normal(1500, 150, (96, 112)), f"{number:02d}.dcm"
        if number % 2 == 0:
            pixels[20:40, 30:50] += 1500
            rows.append([name, f"p{number}", "Mass", 30, 20, 20, 20])
        if number % 3 == 0:
            pixels[80:, :56] = 100
            rows.append([name, f"p{number}", "Effusion", 0, 80, 56, 16])
        if number % 2 and number % 3:
            rows.append([name, f"p{number}", "No finding", "", "", "", ""])
        write_dicom(folder / "images" / name, np.clip(pixels, 0, 4095))
    shown = re.search(r"```csv\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([shown[0].split(","), *rows])
    with (folder / "boxes.csv").open(newline="") as file:
        assert file.read().splitlines()[: len(shown)] == shown  # the page shows this table
    return folder


def tiny_clip(folder):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    ids = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    config = transformers.CLIPConfig(
        vision_config={**sizes, "patch_size": 8, "image_size": 32}, text_config={**sizes, **ids}, projection_dim=16
    )
    transformers.CLIPModel(config).half().save_pretrained(folder)


@pytest.mark.slow
def test_every_command_of_the_page(place, own):
    assert len(COMMANDS) == 4
    tiny_clip(own / "clip")
    settings = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    settings |= {"pretrained": "own/clip", "image_size": 132, "tower_size": 32}
    (own / "own.json").write_text(json.dumps(settings))
    for command in COMMANDS:
        place.execute([sys.executable, *shlex.split(command)[1:]], own.parent)
    datalist = json.loads((own / "datalist.json").read_text())
    assert sum(len(datalist[name]) for name in ("training", "validation", "test")) == 10
    assert "fewer than 10 positive images" in (own / "datalist.html").read_text()
    assert "froc/mean/sens_at_1fp" in json.loads((own / "eval" / "metrics.json").read_text())
    assert (own / "eval" / "report.html").is_file()
