"""Fetch radiographs of an archive, de-identified as they come, and rename a table of labels as them.

python -m scripts.fetch_cohort archive --archive https://pacs/dicom-web --output data/cohort --key ~/cohort.key --filters '{"StudyDate": "20240101-20241231"}'
python -m scripts.fetch_cohort archive --archive ORTHANC@127.0.0.1:4242 --output data/cohort --key ~/cohort.key
python -m scripts.fetch_cohort table --table labels.csv --image_column SOPInstanceUID --keep Effusion,Mass --key ~/cohort.key --output data/labels.csv
"""  # noqa: E501

import logging
import sys

import fire

from bundle.data.sources.faults import SourceError
from scripts.switches import with_switches


def archive(
    archive: str,
    output: str,
    key: str,
    filters: dict[str, str] | None = None,
    ae_title: str = "PATCHCLIP",
    sex_and_age: bool = False,
) -> None:
    """Fetch the CR and DX images that an archive finds, each without its patient; the next run goes on.

    Args:
        archive: the http(s) address of a DICOMweb service, or AET@host:port, which is asked by C-FIND and C-GET.
        output: folder of the cohort.
        key: file of the key that makes pseudonyms, made by the first run; outside of the cohort, not to be passed on.
        filters: {"StudyDate": "20240101-20241231"}, or other keywords of a study; None takes all.
        ae_title: ours, for AET@host:port.
        sex_and_age: keep them (PS3.15's Retain Patient Characteristics Option).
    """
    from bundle.data.cohort.archive import open_archive
    from bundle.data.cohort.fetch import fetch_cohort

    asked = {name: str(value) for name, value in (filters or {}).items()}
    print(fetch_cohort(open_archive(archive, ae_title), asked, output, key, sex_and_age))


def table(table: str, image_column: str, keep: str | tuple[str, ...], key: str, output: str) -> None:
    """Rename the images of a table of labels as those of the cohort; only columns that are named stay.

    Args:
        table: CSV.
        image_column: SOP Instance UIDs.
        keep: columns to keep, separated by commas.
        key: of the cohort.
        output: the CSV to write.
    """
    from bundle.data.cohort.fetch import rename_table

    names = keep.split(",") if isinstance(keep, str) else list(keep)
    print(rename_table(table, output, key, image_column, [str(name).strip() for name in names]))


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("bundle").setLevel(logging.INFO)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it quotes values of the objects
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    try:
        fire.Fire({"archive": with_switches(archive), "table": table})
    except (SourceError, FileNotFoundError) as error:  # what was given is at fault, and the message says where
        sys.exit(str(error))
