"""What the network finds in one radiograph after another, as DICOM results; the network is loaded once."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset

from bundle.checkpoints import load_weights
from bundle.reading.options import ReadingOptions
from bundle.results.dicom import DicomOptions, NotAssessedError, dicom_results, read_findings, save_dicom_results
from bundle.versions import refuse_other_version


class Analyser:
    """Runs a packaged bundle's `inference.json` on one radiograph at a time.

    Results are deterministic (`DicomOptions`): a radiograph that is looked at twice, after a kill or because it came
    again, gives the same objects, which a PACS then has once.

    Args:
        bundle: folder of a packaged bundle, with `models/model.pt`.
        settings: of its inference.json, by id, such as {"min_score": 0.3}.

    Raises:
        FileNotFoundError: the bundle is not there or has no weights.
        OtherVersionError: it was made by another version of this code.

    Attributes:
        reading: the options with which it reads.
    """

    def __init__(self, bundle: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        config = Path(bundle).absolute() / "configs" / "inference.json"
        if not config.is_file():
            raise FileNotFoundError(f"{config} is missing: make a bundle of a training by scripts.package_bundle")
        refuse_other_version(config.parent.parent)
        self._folder = tempfile.TemporaryDirectory()
        parser = ConfigParser()
        parser.read_config(str(config))
        own = {
            "bundle_root": str(config.parent.parent),
            "output_dir": self._folder.name,
            "dataset#data": [{"image": ""}],  # each call brings its own
            "saving#transforms#0#inputs": None,
            "saving#transforms#0#overlay": False,
        }
        for key, value in {**(settings or {}), **own}.items():
            parser[key] = value
        load_weights(parser.get_parsed_content("network"), parser.get_parsed_content("ckpt_path"))
        self.reading = ReadingOptions.of(parser.get_parsed_content("reading") if "reading" in parser else None)
        self._preprocessing = parser.get_parsed_content("preprocessing")
        self._collate = parser.get_parsed_content("dataloader#collate_fn")
        self._evaluator = parser.get_parsed_content("evaluator")
        self._options = DicomOptions(
            deterministic=True,
            codes=parser.get_parsed_content("dicom_codes"),
        )

    def __call__(self, file: Path, folder: Path) -> Sequence[Path]:
        """Look at one radiograph.

        Args:
            file: the radiograph, a DICOM file.
            folder: where the results are written.

        Returns:
            The DICOM results; none of an image that is no frontal chest radiograph, of which the log says why.

        Raises:
            RadiographError, DicomSourceError, ValueError: it can't be read, or no result can refer to it.
        """
        dataset = Dataset([{"image": str(file)}], self._preprocessing)
        self._evaluator.data_loader = DataLoader(dataset, batch_size=1, collate_fn=self._collate)
        try:
            self._evaluator.run()
            (found,) = Path(self._folder.name).glob("*.json")
            document, maps = read_findings(found)
        finally:
            for path in Path(self._folder.name).iterdir():
                path.unlink()
        try:
            results = dicom_results(file, document, maps, self._options)
        except NotAssessedError:  # SaveFindingsd has said why
            return ()
        return save_dicom_results(results, folder, "result")
