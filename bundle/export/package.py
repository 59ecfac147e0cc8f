"""A trained experiment as a self-contained MONAI bundle: its architecture flattened into inference.json."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from bundle.atomic import atomic_path, write_file
from bundle.export.closure import import_closure
from bundle.export.packaged_configs import packaged_configs
from bundle.fingerprint import file_fingerprint

WEIGHTS = "models/model.pt"
# copied from the repository as they are; configs, code and weights are written
COPIED = ("LICENSE", "configs/logging.conf", "docs/README.md", "docs/data_license.txt")
CONFIGS = ("inference.json", "train.json", "evaluate.json", "metadata.json")
# folders of the repository in which no package may be written
SOURCES = ("bundle", "configs", "docs", "scripts", "tests")


def package_bundle(config_files: Sequence[str | Path], root: Path, output: Path, bundle_root: str = ".") -> Path:
    """Write configs, weights, code, licences and model card of a trained experiment into `output`.

    `output/configs` gets what `packaged_configs` makes, and logging.conf; `output/models/model.pt` the best weights
    without the text tower, which inference and evaluation do without; `output/bundle` the code that these configs name
    and what it imports, no more.

    Args:
        config_files: the training's config and its overlays.
        root: the repository, from which inference.json, code, licences and model card are taken.
        output: folder to write; files in it are replaced, `output/bundle` as a whole.
        bundle_root: as the training was run with.

    Returns:
        `output`.

    Raises:
        FileNotFoundError: the training has left no weights, or a config names a module that `bundle` has not.
        ValueError: the package would replace files of the repository, a folder named bundle that no package is in, or
            the training's weights.
    """
    _refuse_to_replace(root, output)
    parser = ConfigParser()
    parser.read_config([str(f) for f in config_files])
    parser["bundle_root"] = bundle_root
    parser.parse()
    weights = Path(parser.get_parsed_content("ckpt_path"))
    if not weights.is_file():
        raise FileNotFoundError(f"No weights at {weights}: run the training of {list(config_files)} first.")
    if weights.resolve() == (output / WEIGHTS).resolve():
        raise ValueError(
            f"The package's weights, without the text tower, would replace the training's, {weights.resolve()}. "
            "Give another output folder."
        )
    configs, state = packaged_configs(parser, root), _without_text(weights)
    code = import_closure(root, sorted(set(_named(configs))))
    (output / WEIGHTS).unlink(missing_ok=True)  # it says that the package is complete
    with atomic_path(output / WEIGHTS) as temporary:  # there last
        torch.save(state, temporary)
        configs["inference.json"]["points_of"] = file_fingerprint(temporary)
        for name, content in configs.items():
            write_file(output / "configs" / name, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
        for name in COPIED:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, output / name)
        _replace_code(root, code, output)
    return output


def packaged_files(folder: Path) -> list[Path]:
    """What `package_bundle` writes of what lies in `folder`, a training's checkpoints perhaps too: sorted paths."""
    names = [*COPIED, *(f"configs/{name}" for name in CONFIGS), WEIGHTS]
    code = (path for path in (folder / "bundle").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted([*(path for name in names if (path := folder / name).is_file()), *code])


def _refuse_to_replace(root: Path, output: Path) -> None:
    """Refuse an output folder in which the package would replace the repository's own files or somebody else's."""
    repository, folder = root.resolve(), output.resolve()
    inside = any(folder.is_relative_to(repository / name) for name in SOURCES)
    if folder == repository or inside or repository.is_relative_to(folder / "bundle"):
        raise ValueError(
            f"The package would be written to {folder}, over files of the repository {repository}. "
            f"Give a folder outside of its {', '.join(SOURCES)}, such as {repository / 'models' / 'package'}."
        )
    if (folder / "bundle").exists() and not (folder / "configs" / "inference.json").exists():
        raise ValueError(
            f"{folder / 'bundle'} would be replaced, and no package wrote it: it has no configs/inference.json "
            "beside it. Give another output folder, or remove that one."
        )


def _named(value: Any) -> Iterator[str]:
    """What configs name of `bundle`, in targets and expressions."""
    if isinstance(value, str):
        yield from re.findall(r"\bbundle(?:\.\w+)+", value)
    elif isinstance(value, dict | list):
        for item in value if isinstance(value, list) else [value[key] for key in value if key != "_desc_"]:
            yield from _named(item)


def _replace_code(root: Path, files: Sequence[Path], output: Path) -> None:
    """Copy files of `root`/bundle in place of `output`/bundle: nothing of that stays, and no half copy is seen."""
    with tempfile.TemporaryDirectory(dir=output, prefix=".package-") as temporary:
        for file in files:
            target = Path(temporary) / "new" / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        if (output / "bundle").exists():
            (output / "bundle").rename(Path(temporary) / "old")
        (Path(temporary) / "new" / "bundle").rename(output / "bundle")


def _without_text(weights: Path) -> dict[str, Any]:
    """A training's weights without the text tower's."""
    state: dict[str, Any] = torch.load(weights, map_location="cpu", weights_only=True)
    return {name: value for name, value in state.items() if not name.startswith("clip.text.")}
