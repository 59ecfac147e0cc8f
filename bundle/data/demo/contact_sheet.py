"""A contact sheet of the simulated radiographs: tiles with their boxes, one colour per finding."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from bundle.data.demo.subjects import DISTRIBUTION, LIDC

COLOURS = ("#e6b800", "#ff5c5c", "#4da6ff", "#5cd65c", "#ff8c1a", "#ff66d9", "#b380ff", "#33d6d6")
OUTLINE = [withStroke(linewidth=1.2, foreground="black")]
_TILE_INCHES = 2.2
_DPI = 120
_CAPTION = (
    "Simulated radiographs, not patients: projections of {cts} with computer-inserted findings; number: "
    "contrast-to-noise ratio"
)
_LIDC = "LIDC-IDRI-0001, LIDC-IDRI collection, CC BY 3.0"


def contact_sheet(datalist: str | Path, output: str | Path, rows: int = 4, columns: int = 6) -> Path:
    """Draw test radiographs of a demo datalist with their boxes.

    Tiles are taken from the test split: a radiograph without findings for every fourth tile, the others such that every
    finding is shown about equally often.

    Args:
        datalist: made by :func:`~bundle.data.demo.make_demo_radiographs`.
        output: PNG file; its folder is made where missing.
        rows, columns: of tiles.

    Returns:
        The PNG file.

    Raises:
        ValueError: rows or columns below 1, or an empty test split.
    """
    datalist, output = Path(datalist), Path(output)
    content = json.loads(datalist.read_text(encoding="utf-8"))
    if rows < 1 or columns < 1 or not content["test"]:
        raise ValueError(
            f"Found {rows} x {columns} tiles and {len(content['test'])} test images in {datalist}; "
            "wanted at least one of each."
        )
    colours = dict(zip(content["findings"], COLOURS, strict=False))
    figure = Figure(figsize=(columns * _TILE_INCHES, rows * _TILE_INCHES * 0.9 + 0.35), facecolor="black", dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(left=0.003, right=0.997, top=0.997, bottom=0.035, wspace=0.02, hspace=0.02)
    for axis in axes.flat:
        axis.axis("off")
    for axis, entry in zip(axes.flat, _varied(content["test"], rows * columns), strict=False):
        image = displayed(datalist.parent / entry["image"])
        axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
        for item in entry["boxes"]:
            x0, y0, x1, y1 = item["box"]
            colour = colours.get(item["finding"], "white")
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=0.7))
            name = f"{item['finding']} {item['attributes']['cnr']:.1f}"
            axis.text(x0 + 3, y0 - 4, name, color=colour, fontsize=5.5, va="bottom", clip_on=True, path_effects=OUTLINE)
    figure.text(0.5, 0.014, _caption(content["generator"]), color="white", fontsize=7, ha="center", va="center")
    canvas.draw()
    sheet = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    # Grey tiles and eight line colours need no true colour, and a palette makes the file a third as large.
    sheet.quantize(palette=_palette(), dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(buffer.getvalue())
    return output


def _caption(generator: dict[str, Any]) -> str:
    """Whose CTs a test split projects."""
    names = generator.get("test_anatomies") or generator.get("anatomies") or [LIDC.name]
    if names == [LIDC.name]:
        return _CAPTION.format(cts=f"one CT ({_LIDC})")
    each = [_LIDC if name == LIDC.name else f"{name} of {DISTRIBUTION}" for name in names]
    return _CAPTION.format(cts=f"{len(names)} CT{'s' * (len(names) > 1)} ({'; '.join(each)})")


def _palette() -> Image.Image:
    """96 greys and every line colour in five shades down to black, for the smoothed edges of lines and letters."""
    colours = [(v, v, v) for v in np.linspace(0, 255, 96).round().astype(int).tolist()]
    for colour in COLOURS:
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        colours += [(round(red * s), round(green * s), round(blue * s)) for s in (1, 0.85, 0.7, 0.55, 0.4)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in colours for value in colour])
    return palette


def displayed(path: Path) -> NDArray[np.float32]:
    """A demo DICOM as shown: linear window, 0 black to 1 white, MONOCHROME1 inverted; (H, W)."""
    ds = pydicom.dcmread(path)
    shown = (ds.pixel_array.astype(np.float32) - float(ds.WindowCenter)) / float(ds.WindowWidth) + 0.5
    shown = np.clip(shown, 0, 1)
    return 1 - shown if ds.PhotometricInterpretation == "MONOCHROME1" else shown


def _varied(entries: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` entries: every fourth without findings, the others in turn with the finding shown least so far."""
    empty = [e for e in entries if not e["boxes"]]
    found = [e for e in entries if e["boxes"]]
    shown: dict[str, int] = {}
    out: list[dict[str, Any]] = []
    while len(out) < count and (empty or found):
        if empty and (len(out) % 4 == 3 or not found):
            out.append(empty.pop(0))
            continue
        best = min(found, key=lambda e: (min(shown.get(b["finding"], 0) for b in e["boxes"]), len(e["boxes"])))
        found.remove(best)
        for name in {b["finding"] for b in best["boxes"]}:
            shown[name] = shown.get(name, 0) + 1
        out.append(best)
    return out
