"""The model zoo's rules for a bundle, checked in its order: files, metadata, properties, network, a run."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from monai.bundle import ConfigWorkflow, verify_net_in_out

from bundle.export.archive import LARGE_FILES, LARGEST_FILE
from bundle.export.check_data import write_check_data
from bundle.fingerprint import file_sha256

NEEDED = ("LICENSE", "configs/metadata.json", "configs/inference.json", "configs/train.json", "docs/README.md")
SCHEMA = Path(__file__).with_name("meta_schema.json")

# a folder of somebody's machine: as a whole value, or as text in an expression with nothing put before it
_ABSOLUTE = re.compile(r"(/|~|[A-Za-z]:[\\/])")
_ABSOLUTE_TEXT = re.compile(r"""(?<!\+ )['"](/|~/|[A-Za-z]:[\\/])\w""")


class BundleFaultsError(ValueError):
    """A bundle that the model zoo would refuse; `faults` lists all reasons, the message too."""

    def __init__(self, folder: Path, faults: list[str]) -> None:
        super().__init__(
            f"{folder} breaks {len(faults)} of the model zoo's rules:\n" + "\n".join(f"- {f}" for f in faults)
        )
        self.faults = faults


def check_bundle(folder: Path, large_files_from: Path | None = None) -> None:
    """Check a bundle's folder.

    The workflows are built, and inference is run in a process of its own with the bundle's own code, on a few small
    images made for the purpose.

    Args:
        folder: as `package_bundle` leaves it, or an unpacked zip.
        large_files_from: where the files that large_files.yml names lie; they are linked into the folder.

    Raises:
        BundleFaultsError: with all that is wrong. What depends on files is not tried where files are missing.
    """
    folder = folder.resolve()
    faults = [*_file_faults(folder), *_large_file_faults(folder, large_files_from)]
    if not [name for name in NEEDED if not (folder / name).is_file()]:
        faults += [*_path_faults(folder), *_metadata_faults(folder)]
        with tempfile.TemporaryDirectory() as place:
            data = write_check_data(Path(place), _read(folder / "configs" / "inference.json")["findings"])
            faults += [*_property_faults(folder, data), *_network_faults(folder), *_run_faults(folder, data)]
    if faults:
        raise BundleFaultsError(folder, faults)


def _file_faults(folder: Path) -> Iterator[str]:
    for name in NEEDED:
        if not (folder / name).is_file():
            yield f"{name} is missing."
    named = {entry["path"] for entry in _large_files(folder)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            (folder / LARGE_FILES).is_file()
            and path.is_file()
            and path.stat().st_size > LARGEST_FILE
            and name not in named
        ):
            yield f"{name} has {path.stat().st_size / 1e6:.0f} MB; above 25 MB a file belongs into {LARGE_FILES}."


def _large_file_faults(folder: Path, source: Path | None) -> Iterator[str]:
    for entry in _large_files(folder):
        path = folder / entry["path"]
        if not path.exists() and source is not None and (source / entry["path"]).is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to((source / entry["path"]).resolve())
        if not path.exists():
            yield f"{entry['path']} is not there: `python -m monai.bundle download_large_files --bundle_path {folder}`."
        elif entry.get("hash_type") != "sha256" or entry.get("hash_val") != file_sha256(path):
            yield f"{LARGE_FILES}: {entry['path']} has another SHA-256 than the entry says."


def _path_faults(folder: Path) -> Iterator[str]:
    for file in sorted((folder / "configs").glob("*.json")):
        for key, value in _texts(_read(file)):
            if (_ABSOLUTE_TEXT.search if value.startswith("$") else _ABSOLUTE.match)(value):
                yield f"configs/{file.name}: {key} is '{value}', a path of one machine. Wanted: one below @bundle_root."


def _metadata_faults(folder: Path) -> Iterator[str]:
    metadata = _read(folder / "configs" / "metadata.json")
    if metadata.get("version") not in metadata.get("changelog", {}):
        yield f"configs/metadata.json: version '{metadata.get('version')}' is not in the changelog."
    for error in jsonschema.Draft201909Validator(_read(SCHEMA)).iter_errors(metadata):
        where = "/".join(map(str, error.absolute_path)) or "the file"
        yield f"configs/metadata.json: {where}: {error.message[:300]}"


def _property_faults(folder: Path, data: Path) -> Iterator[str]:
    """What `ConfigWorkflow.check_properties` misses, of training, evaluation and inference."""
    inference = _read(folder / "configs" / "inference.json")
    places = {"bundle_root": str(folder), "dataset_dir": str(data), "output_dir": str(data / "out")}
    # without the pretrained folder, which does not come with the bundle: inference's sizes and the smallest text tower
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    small: dict[str, Any] = {"pretrained": None, "tokenizer_folder": None}
    small |= {"clip": {**inference["clip"], "text": sizes}, "separate_prompts": False}  # which needs a tower's width
    small |= {"ckpt_dir": str(data / "out"), "num_workers": 0, "batch_size": 2, "image_dir": None}
    evaluated = {
        key: small[key] for key in ("pretrained", "tokenizer_folder", "num_workers", "batch_size", "image_dir")
    }
    for names, kind, overrides in (
        (["train"], "train", small),
        (["train", "evaluate"], "train", evaluated),
        (["inference"], "infer", {}),
    ):
        files = [folder / "configs" / f"{name}.json" for name in names]
        if not all(file.is_file() for file in files):
            continue
        try:
            workflow = ConfigWorkflow(
                config_file=[str(file) for file in files],
                workflow_type=kind,
                logging_file=False,
                meta_file=str(folder / "configs" / "metadata.json"),
                **places,
                **overrides,
            )
            workflow.initialize()
            missing = workflow.check_properties()
        except Exception as error:  # whatever the configs' components raise is a fault of the bundle
            yield f"configs/{'.json + '.join(names)}.json cannot be built: {_root_cause(error)}"
        else:
            if missing:
                yield f"configs/{'.json + '.join(names)}.json lacks properties or has wrong ids: {', '.join(missing)}"


def _network_faults(folder: Path) -> Iterator[str]:
    try:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(folder / "configs" / "metadata.json"),
            config_file=str(folder / "configs" / "inference.json"),
            device="cpu",
        )
    except Exception as error:
        yield f"network_def does not do what configs/metadata.json says: {_root_cause(error)}"


def _run_faults(folder: Path, data: Path) -> Iterator[str]:
    """A run of inference as a user would start it, from another folder, with the bundle's own code."""
    out = data / "inferred"
    command = [sys.executable, "-m", "monai.bundle", "run", "inferring"]
    command += [f"--config_file={folder / 'configs' / 'inference.json'}", f"--bundle_root={folder}"]
    command += [f"--dataset_dir={data / 'images'}", f"--output_dir={out}"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "PYTHONWARNINGS": "ignore"
    }
    done = subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, check=False)
    images = {path.stem for path in (data / "images").iterdir()}
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        yield f"inferring fails: {' | '.join(last)}"
    elif missing := images - {path.stem for path in out.glob("*.json")}:
        yield f"inferring wrote no results for {sorted(missing)}."


def _large_files(folder: Path) -> list[dict[str, str]]:
    file = folder / LARGE_FILES
    return yaml.safe_load(file.read_text(encoding="utf-8"))["large_files"] if file.is_file() else []


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping | list):
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _texts(item, f"{key}#{name}" if key else str(name))


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
