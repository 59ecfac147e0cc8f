"""few_boxes.json: half of each batch boxed, and pseudo-labels teach what is not."""

import re


def test_few_boxes_trains_with_pseudo_labels(place):
    output = place.run("training", "train", "few_boxes", boxed_share=0.3, max_epochs=1, batch_size=4)
    terms = [float(value) for value in re.findall(r"loss/pseudo=([0-9.]+)", output)]
    assert terms
    assert max(terms) > 0
    assert "loss/pseudo" not in place.run(
        "training", "train", boxed_share=0.3, max_epochs=1, ckpt_dir=place.folder / "plain"
    )
