"""A training by the canvas cache: the same weights and figures as by decoding."""

import os

import pytest
import torch

from tests.workflows.conftest import TINY, Place


def weights(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


@pytest.mark.slow
def test_a_training_by_the_cache_ends_with_the_same_weights(tmp_path):
    place = Place(tmp_path)
    cache = {"canvas_cache#folder": tmp_path / "canvases", "canvas_cache#values": "float32"}
    place.run("training", "train", max_epochs=1, ckpt_dir=tmp_path / "decoded")
    where = {"bundle_root": tmp_path, "dataset_dir": place.data}
    settings = [f"--{key}={value}" for key, value in {**where, **cache}.items()]
    built = place.script(
        "build_cache", f"--config_file=['configs/train.json','{TINY}']", *settings, "--workers=1", "--check=true"
    )
    assert "17 of 17 canvases are there, 17 of them new" in built
    for image in (place.data / "images").glob("*.dcm"):  # black, and by size and time of change the same file
        stamp, content = image.stat(), image.read_bytes()
        image.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
        os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    said = place.run("training", "train", max_epochs=1, ckpt_dir=tmp_path / "cached", num_workers=1, **cache)
    assert "is not in it" not in said  # every image was there
    assert "22 entries by the table of its check" in said
    decoded, cached = weights(tmp_path / "decoded"), weights(tmp_path / "cached")
    tensors = [name for name, value in decoded.items() if isinstance(value, torch.Tensor)]
    assert len(tensors) > 20
    assert all(torch.equal(decoded[name], cached[name]) for name in tensors)
