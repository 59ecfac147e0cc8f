"""few_boxes.json: half of each batch boxed, and pseudo-labels teach what is not."""

import json
import re

from tests.workflows.conftest import ROOT


def test_few_boxes_trains_with_pseudo_labels(place):
    output = place.run("training", "train", "few_boxes", boxed_share=0.3, max_epochs=1, batch_size=4)
    terms = [float(value) for value in re.findall(r"loss/pseudo=([0-9.]+)", output)]
    assert terms
    assert max(terms) > 0
    assert "loss/pseudo" not in place.run(
        "training", "train", boxed_share=0.3, max_epochs=1, ckpt_dir=place.folder / "plain"
    )


def test_over_the_demo_it_is_what_was_judged():
    """The commands of docs/evaluation.md override what this overlay changes; that of before, what the demo then had."""
    configs = [json.loads((ROOT / "configs" / f"{name}.json").read_text()) for name in ("demo", "few_boxes")]
    demo, overlay = configs
    demo |= {f"{part}#{key}": value for part in ("loss", "augmentation") for key, value in demo[part].items()}
    changed = {key: value for key, value in overlay.items() if key != "_desc_" and demo.get(key) != value}
    text = (ROOT / "docs" / "evaluation.md").read_text()
    commands = re.findall(r"--shares [^`]*?--boxed_in_batch [^`]*?\n\n", text)
    today, before = ({k: float(v) for k, v in re.findall(r"--([a-z_#]+) ([0-9.]+)", each)} for each in commands)
    assert today.pop("shares") == 0.1
    assert today == changed
    then = {"latitude_share": 0.75, "tone_share": 0.85, "frame_share": 0}
    assert before == {**changed, **{f"photometric#{key}": value for key, value in then.items()}, "max_epochs": 6}
