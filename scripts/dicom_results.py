"""DICOM results of inferences that were made earlier, without the network.

python -m scripts.dicom_results --image scan.dcm --findings eval/inference/scan.json --output_dir eval/inference
"""

from pathlib import Path

import fire

from bundle.results.dicom import DicomOptions, dicom_results, read_findings, save_dicom_results
from scripts.switches import with_switches


def main(
    image: str,
    findings: str,
    output_dir: str | None = None,
    min_score: float | None = None,
    min_image_score: float | None = None,
    max_per_finding: int = 3,
    deterministic: bool = False,
) -> None:
    """Write `<name>_sr.dcm`, `<name>_gsps.dcm` and `<name>_sc.dcm`.

    Args:
        image: the DICOM radiograph.
        findings: the JSON that inference wrote about it, with its map beside it.
        output_dir: beside the JSON if None.
        min_score: the lowest score of a candidate that is shown; each finding's own in the JSON if None.
        min_image_score: findings with a lower image score have no candidates shown; likewise.
        max_per_finding: the most candidates shown of one finding.
        deterministic: whether the same input gives the same files.
    """
    path = Path(findings)
    document, maps = read_findings(path)
    options = DicomOptions(min_score, min_image_score, max_per_finding, deterministic)
    for written in save_dicom_results(
        dicom_results(image, document, maps, options), output_dir or path.parent, path.stem
    ):
        print(written)


if __name__ == "__main__":
    fire.Fire(with_switches(main))
