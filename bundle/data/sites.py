"""A datalist cut into the shards of hospitals, for federated learning on one machine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.atomic import write_json
from bundle.data.datalist_entry import patient_name

# the test section stays with whoever judges
SHARED_OUT = ("training", "validation")


def split_by_site(datalist: Path, output: Path, shards: int = 2) -> list[Path]:
    """Write one folder with a datalist.json for each shard, "site_1", "site_2" and so on.

    A patient, with all entries, goes where the first entry's `site` goes; the datalist's sites, sorted, go to the
    shards in turn. Where an entry lacks `site`, all patients are dealt out in turn instead. Images stay where they are:
    give `image_dir` to who reads the shards.

    Args:
        datalist: the file.
        output: folder for the shards' folders.
        shards: how many.

    Returns:
        The folders.

    Raises:
        ValueError: a shard would have no patient in one of the sections.
    """
    document: dict[str, Any] = json.loads(datalist.read_text(encoding="utf-8"))
    entries = [entry for section in SHARED_OUT for entry in document[section]]
    shard_of = _shard_of_patients(entries, shards)
    folders = []
    for number in range(shards):
        own: dict[str, Any] = {"findings": document["findings"]}
        for section in SHARED_OUT:
            own[section] = [e for e in document[section] if shard_of[patient_name(e["patient_id"])] == number]
            if not own[section]:
                raise ValueError(
                    f"{datalist}: shard {number + 1} of {shards} would have no patient in '{section}'; "
                    "give fewer shards."
                )
        folders.append(output / f"site_{number + 1}")
        write_json(folders[-1] / "datalist.json", own)
    return folders


def _shard_of_patients(entries: Sequence[dict[str, Any]], shards: int) -> dict[str, int]:
    """Patient -> number of the shard."""
    site_of: dict[str, Any] = {}
    for entry in entries:
        site_of.setdefault(patient_name(entry["patient_id"]), entry.get("site"))
    if None in site_of.values():
        return {patient: number % shards for number, patient in enumerate(site_of)}
    turn = {site: number % shards for number, site in enumerate(sorted(set(site_of.values())))}
    return {patient: turn[site] for patient, site in site_of.items()}
