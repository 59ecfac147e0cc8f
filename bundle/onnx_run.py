"""Look at a folder of radiographs with an exported network, by onnxruntime: without torch, without MONAI.

python -m bundle.onnx_run --model model.onnx --dataset_dir FOLDER --output_dir FOLDER

Writes the JSON that `inferring` writes about each radiograph, without overlay and map, and `unreadable.json`.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from bundle.atomic import write_json
from bundle.data.inputs import radiograph_files
from bundle.data.output_names import OutputNames
from bundle.frames import fit, grid_to_stored
from bundle.metrics.candidate_tables import candidate_tables
from bundle.probability import OperatingPoints
from bundle.reading import ReadingOptions, read_radiograph
from bundle.reading.upright import Upright, upright_metadata
from bundle.results.findings_file import findings_document, reading_document
from bundle.results.stored_frame import candidates_of_file
from bundle.versions import versions

logger = logging.getLogger(__name__)

# outputs of the file, and the facts in it that tell how to use it
PRED, SCORES, INPUT = "pred", "scores", "image"
TEXTS = ("name", "version", "notice")
FACTS = ("findings", "canvas", "scores", "reading", "candidates", "operating_points", "calibrated")

Floats = NDArray[np.float32]


class OnnxModel:
    """An exported network with all that it takes to use it (`bundle.export.facts`).

    Args:
        path: the .onnx file.
        threads: onnxruntime's; None leaves it the choice.
        min_score: 0..1, in place of every finding's own threshold of candidates.
        min_image_score: 0..1, in place of every finding's own threshold of images.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no export of this bundle, or of an older version; or a threshold is out of range.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        min_score: float | None = None,
        min_image_score: float | None = None,
    ) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"There is no {path}. Wanted: what `python -m scripts.export_model` wrote.")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads or 0
        self.session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        told = self.session.get_modelmeta().custom_metadata_map
        if missing := [name for name in (*TEXTS, *FACTS) if name not in told]:
            raise ValueError(
                f"{path} does not say its {', '.join(missing)}: it is of an older version, or not of this bundle. "
                "Export it again with `python -m scripts.export_model`."
            )
        self.name, self.version, self.notice = (told[name] for name in TEXTS)
        facts = {name: json.loads(told[name]) for name in FACTS}
        self.findings, self.scores = list(facts["findings"]), list(facts["scores"])
        self.canvas = (int(facts["canvas"]), int(facts["canvas"]))
        self.options = ReadingOptions.of(facts["reading"])
        self.candidates: dict[str, Any] = facts["candidates"]
        points = OperatingPoints(self.findings, facts["operating_points"])
        points.calibrated = bool(facts["calibrated"])
        self.points = points.replaced(min_score, min_image_score)

    def document(self, file: str, anonymous: bool = False) -> dict[str, Any]:
        """What the network finds in a radiograph, as `bundle.results.SaveFindingsd` writes it.

        Args:
            file: the radiograph.
            anonymous: whether to keep the file's name out of it.

        Raises:
            RadiographError: it cannot be read.
        """
        image, meta = read_radiograph(file, self.options, hash_pixels=True)
        size: tuple[int, int] = meta["stored_size"]
        turn = Upright.of(meta["orientation"])
        upright = turn.size(size)
        place = fit(upright, self.canvas, (meta | upright_metadata(turn, meta))["pixel_aspect"])
        batch = on_canvas(turn.apply(image)[0], self.canvas, (place.height, place.width), (place.top, place.left))
        maps, stacked = self.session.run([PRED, SCORES], {INPUT: batch})  # (1, K, Gh, Gw), (1, S, K)
        scores: dict[str, Any] = dict(zip(self.scores, stacked[0], strict=True))
        scores["image"] = self.points.probabilities(scores["image"])
        to_stored = grid_to_stored(place.affine, self.canvas, maps.shape[-2:])
        table = candidate_tables(maps, to_stored[None], np.array([upright]), **self.candidates)[0]
        return findings_document(
            self.findings,
            scores,
            candidates_of_file(table, turn, size),
            size,
            meta["spacing"],
            self.notice,
            meta["not_assessed"],
            self.points,
            **({} if anonymous else {"file": Path(file).name}),
            reading=reading_document(meta, self.options),
            model={"name": self.name, "version": self.version},
            versions={**versions(), "onnxruntime": onnxruntime.__version__},
            analysed=datetime.now().astimezone().isoformat(timespec="seconds"),
        )


def on_canvas(image: Floats, canvas: tuple[int, int], size: tuple[int, int], place: tuple[int, int]) -> Floats:
    """A radiograph resized, bilinearly with antialiasing, and padded with 0: what `bundle.transforms.canvas` makes.

    Args:
        image: (H, W), 0..1, upright.
        canvas: (Hc, Wc).
        size: rows and columns of it there.
        place: rows above it and columns to its left.

    Returns:
        (1, 1, Hc, Wc).
    """
    if image.shape != size:
        picture = Image.fromarray(np.ascontiguousarray(image))
        image = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))
    batch = np.zeros((1, 1, *canvas), np.float32)
    batch[0, 0, place[0] : place[0] + size[0], place[1] : place[1] + size[1]] = image
    return batch


def run(model: OnnxModel, dataset_dir: Path, output_dir: Path, anonymous: bool = False) -> int:
    """Look at a folder, or one file; write a JSON about each radiograph, and `unreadable.json`.

    Args:
        model: the network.
        dataset_dir: the folder.
        output_dir: made if missing.
        anonymous: number what is written, and keep file names out of it.

    Returns:
        How many radiographs were looked at.

    Raises:
        FileNotFoundError, ValueError: as `radiograph_files`.
    """
    unreadable = output_dir / "unreadable.json"
    files = radiograph_files(dataset_dir, unreadable=unreadable, anonymous=anonymous, options=model.options)
    names = OutputNames(files, anonymous=anonymous, owner="onnx_run")
    for file in files:
        name = names(file)
        document = model.document(file, anonymous)
        if document["not_assessed"]:
            logger.warning("Not assessed: %s: %s.", name, document["not_assessed"])
        write_json(output_dir / f"{name}.json", document)
    return len(files)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; what goes wrong ends it with one line."""
    parser = argparse.ArgumentParser(prog="python -m bundle.onnx_run", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="what scripts.export_model wrote")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="a folder of radiographs, or one file")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--anonymous_names", action="store_true", help="number what is written")
    parser.add_argument("--min_score", type=float, help="lowest score of a candidate that is shown")
    parser.add_argument("--min_image_score", type=float, help="lowest image score of a finding that is shown")
    parser.add_argument("--threads", type=int, help="of onnxruntime")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        model = OnnxModel(given.model, given.threads, given.min_score, given.min_image_score)
        count = run(model, given.dataset_dir, given.output_dir, given.anonymous_names)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    logger.info("%d radiographs: %s", count, given.output_dir)


if __name__ == "__main__":
    main()
