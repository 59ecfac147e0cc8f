"""Tables as NIH publishes them, and grey PNG files in place of the radiographs."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from bundle.data.nih_tables import BOX_TABLE, IMAGE_TABLE, find_table, packaged_tables, read_boxes, read_images

# The header of the first release: one field more than its rows have.
IMAGE_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


@cache
def real_tables():
    """The rows of both real tables; seconds to read."""
    folder = packaged_tables()
    return read_images(find_table(folder, IMAGE_TABLE)), read_boxes(find_table(folder, BOX_TABLE))


def image_row(name: str, labels: str = "No Finding", age: str = "58", sex: str = "M", view: str = "PA") -> str:
    """A row of the label table; the patient's number is in the name."""
    return f"{name},{labels},0,{int(name.split('_')[0])},{age},{sex},{view},2682,2749,0.143,0.143"


def write_tables(folder: Path, images: Iterable[str], boxes: Iterable[str]) -> Path:
    """Write both tables; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Data_Entry_2017.csv").write_text("\n".join([IMAGE_HEADER, *images]) + "\n")
    (folder / "BBox_List_2017.csv").write_text("\n".join([BOX_HEADER, *boxes]) + "\n")
    return folder


def write_images(folder: Path, names: Sequence[str], size: int = 16, parts: int = 2) -> Path:
    """Write the same grey image under every name, in images_001/images and so on; returns the folder."""
    first = folder / "first.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), 100, np.uint8)).save(first)
    content = first.read_bytes()
    first.unlink()
    for part in range(parts):
        place = folder / f"images_{part + 1:03d}" / "images"
        place.mkdir(parents=True)
        for name in names[part::parts]:
            (place / name).write_bytes(content)
    return folder


def write_small_set(folder: Path, pairs: int = 25, size: int = 64, seed: int = 0) -> tuple[Path, Path]:
    """Noise in which a bright square is a mass and a dark band an effusion, by turns, and as many images of neither.

    Returns:
        The folders of the images and of the tables.
    """
    rng = np.random.default_rng(seed)
    images, boxes = folder / "images", []
    images.mkdir(parents=True)
    rows = []
    for number in range(2 * pairs):
        name = f"{number + 1:08d}_000.png"
        pixels = rng.normal(100, 12, (size, size))
        if number >= pairs:
            rows.append(image_row(name))
        elif number % 2:
            x, y = (rng.integers(2, size - 20, 2)).tolist()
            pixels[y : y + 16, x : x + 16] += 100
            boxes.append(f"{name},Mass,{x * 1024 / size},{y * 1024 / size},{16 * 1024 / size},{16 * 1024 / size}")
            rows.append(image_row(name, "Mass|Hernia"))
        else:
            pixels[size - 12 :, : size // 2] = 10
            boxes.append(f"{name},Effusion,0,{(size - 12) * 1024 / size},512,{12 * 1024 / size}")
            rows.append(image_row(name, "Effusion"))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(images / name)
    return images, write_tables(folder / "tables", rows, boxes)
