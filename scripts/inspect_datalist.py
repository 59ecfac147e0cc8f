"""What a datalist holds and what will go wrong with it, as one HTML page, before anything is trained.

python -m scripts.inspect_datalist data/demo/datalist.json --output datalist.html
"""

from pathlib import Path

import fire

from bundle.atomic import write_file
from bundle.data.datalist import load_datalist
from bundle.data.datalist_check import parse_document
from bundle.report.inspection_page import render_inspection


def main(
    datalist: str, output: str = "datalist.html", grid: int = 16, pictures: int = 12, image_dir: str | None = None
) -> None:
    """Write the page to `output` and print its warnings; a datalist with faults is refused with all of them.

    `grid` are the patches along a side of the network's maps, `pictures` the radiographs of the contact sheet, which
    may be 0; `image_dir` is the folder that the images are named in, where it is not the datalist's.
    """
    document, _ = parse_document(Path(datalist))
    sections = [name for name, part in document.items() if isinstance(part, list) and name != "findings"]
    checked, said = load_datalist(datalist, sections, base_dir=image_dir), str(document.get("description") or "")
    page, told = render_inspection(checked, grid, pictures, description=said)
    write_file(Path(output), page)
    for words in told.warnings:
        print(f"- {words}")
    print(output)


if __name__ == "__main__":
    fire.Fire(main)
