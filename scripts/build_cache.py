"""Decode a training's images once into its canvas cache, in parallel; goes on where it was interrupted.

python -m scripts.build_cache --config_file "['configs/train.json','configs/demo.json']" --canvas_cache#folder FOLDER

The training then gets the same --canvas_cache#folder. Builders on several machines that see the folder share the work.
For the test section, build once more with configs/evaluate.json behind.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import fire
from monai.bundle import ConfigParser

from bundle.data.datalist import DatalistError, write_checked
from bundle.experiments.workflow import check_overrides, prepared_workflow
from bundle.transforms import CachedCanvas
from bundle.transforms.canvas_building import Built, build_canvases, other_ways, remove_other_ways
from scripts.switches import with_switches

PARTS = ("train", "validate")


def main(
    config_file: str | Sequence[str],
    workers: int | None = None,
    verify: bool = False,
    prune: bool = False,
    check: bool = False,
    **overrides: Any,
) -> None:
    """Fill the folder canvas_cache#folder with the canvases of the training and the validation section.

    `config_file` and the overrides are those of the training. `workers` are processes, by default one a core; `verify`
    looks at every canvas that is there and makes anew what is damaged; `prune` first removes the canvases of other
    settings and of other versions of the code from the folder; `check` leaves the table of a check beside the datalist,
    as check_datalist does, by which the training starts sooner. Returns 1 unless all canvases are there.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    files = [config_file] if isinstance(config_file, str) else list(config_file)
    try:
        check_overrides(files, overrides)
        parser = prepared_workflow(files, "training", overrides).parser
        cached = cache_of(parser)
        if check:
            names = ("datalist", "image_dir", "reading")
            write_checked(*(parser.get_parsed_content(name) for name in names))
        images = images_of(parser)
        if prune:
            print(f"Removed {len(remove_other_ways(cached))} folders of canvases made otherwise.")
        processes = len(os.sched_getaffinity(0)) if workers is None else workers
        built = build_canvases(cached, images, processes, verify)
    except (DatalistError, ValueError, OSError, RuntimeError) as error:
        sys.exit(str(error))
    print(account(cached, built))
    if built.there < built.images:
        sys.exit(1)


def cache_of(parser: ConfigParser) -> CachedCanvas:
    """The step of a configuration's preprocessing that the cache is for.

    Raises:
        ValueError: it has none, or training and validation have different ones, or there is no folder.
    """
    ids = [
        f"{part}#preprocessing#transforms#{number}"
        for part in PARTS
        for number, step in enumerate(parser[f"{part}#preprocessing#transforms"])
        if str(step.get("_target_", "")).endswith(".CachedCanvas")
    ]
    caches = [parser.get_parsed_content(each) for each in ids]
    if not caches:
        raise ValueError("The configuration's preprocessing has no bundle.transforms.CachedCanvas: nothing is cached.")
    if caches[0].shards is None:
        raise ValueError("canvas_cache#folder is null: give the folder that the canvases go to.")
    if len({cache.digest for cache in caches}) > 1:
        raise ValueError("Training and validation make their canvases differently: one cache cannot serve both.")
    return caches[0]


def images_of(parser: ConfigParser) -> list[str]:
    """The paths of the images of both sections."""
    return [item["image"] for part in PARTS for item in parser.get_parsed_content(f"{part}#dataset#data")]


def account(cached: CachedCanvas, built: Built) -> str:
    """What was built, in a few lines."""
    settings, shards = cached.settings, cached.shards
    assert shards is not None
    lines = [
        f"{settings.folder}: {built.there:,} of {built.images:,} canvases are there, {built.made:,} of them new; "
        f"{built.size / 2**30:.2f} GiB in all."
    ]
    lines += [f"Not read: {line}" for line in built.refused]
    if built.full:
        lines.append(
            f"The cache is full: canvas_cache#gib is {settings.gib:g}. The other images are decoded whenever they are "
            f"wanted. Raise it, or give --prune true: {len(other_ways(shards))} folders hold canvases made otherwise."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    fire.Fire(with_switches(main))
