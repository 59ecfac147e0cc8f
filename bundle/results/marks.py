"""Marks on a picture, in display pixels: cased lines that show on black lung and on white bone, tags, a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bundle.results.colours import CASING, text_on

Box = tuple[float, float, float, float]  # x0, y0, x1, y1; x1 and y1 exclusive
_LEGEND_BACKGROUND, _LEGEND_INK, _LEGEND_MUTED = "#0d1014", "#f2f4f7", "#aeb6c0"


@dataclass(frozen=True)
class Style:
    """Sizes that follow the size of the picture.

    Attributes:
        line: width of a coloured line in pixels; its dark rim adds one pixel on both sides.
        font: height of the letters' em in pixels.
    """

    line: int
    font: int

    @classmethod
    def for_picture(cls, width: int, height: int, thumbnail: bool = False) -> "Style":
        """Lines of 1/400 and letters of 1/60 of the long side, or 1/24 where it will be shown small; never tiny."""
        side = max(width, height)
        return cls(line=max(2, round(side / 400)), font=max(12, round(side / (24 if thumbnail else 60))))


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which lies beside this file with its licence: the same letters on every machine."""
    return ImageFont.truetype(str(Path(__file__).with_name("DejaVuSans.ttf")), size)


def draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: str, style: Style, dashed: bool = False) -> None:
    """The outline of a box, its line inside the box, with a dark rim; dashed for what people drew."""
    x0, y0, x1, y1 = _whole(box)
    draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline=CASING, width=style.line + 2)
    if not dashed:
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=style.line)
        return
    dash, w = 4 * style.line, style.line
    for x in range(x0, x1, 2 * dash):
        end = min(x + dash, x1) - 1
        draw.rectangle((x, y0, end, y0 + w - 1), fill=colour)
        draw.rectangle((x, y1 - w, end, y1 - 1), fill=colour)
    for y in range(y0, y1, 2 * dash):
        end = min(y + dash, y1) - 1
        draw.rectangle((x0, y, x0 + w - 1, end), fill=colour)
        draw.rectangle((x1 - w, y, x1 - 1, end), fill=colour)


def draw_peak(draw: ImageDraw.ImageDraw, x: float, y: float, colour: str, style: Style, room: float) -> None:
    """Four ticks around a point, open in the middle, so that a small nodule below stays visible.

    Args:
        draw: to draw with.
        x: of the point.
        y: of the point.
        colour: of the ticks.
        style: sizes.
        room: short side of the candidate's box; one too small for ticks shows the place well enough by itself.
    """
    if room < 14 * style.line:
        return
    inner, outer = 3 * style.line, 6 * style.line
    for width, ink in ((style.line + 2, CASING), (style.line, colour)):
        rim = (width - style.line) // 2
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            near, far = inner - rim, outer + rim
            draw.line((x + dx * near, y + dy * near, x + dx * far, y + dy * far), fill=ink, width=width)


class Tags:
    """Labels beside boxes, each where it covers least of the others.

    Args:
        draw: to draw with.
        size: (width, height) of the picture; no label leaves it.
        style: sizes.
        keep_clear: places (a peak, say) that a label should not cover either.
    """

    def __init__(
        self, draw: ImageDraw.ImageDraw, size: tuple[int, int], style: Style, keep_clear: Sequence[Box] = ()
    ) -> None:
        self.draw, self.size, self.style = draw, size, style
        self.taken: list[Box] = list(keep_clear)

    def place(self, box: Box, text: str, background: str, below: bool = False) -> None:
        """Write `text` on `background` above the box, or below it, or wherever there is room near it."""
        letters, pad = font(self.style.font), max(2, self.style.font // 5)
        width = letters.getlength(text) + 2 * pad
        height = self.style.font * 1.2 + pad
        x0, y0, x1, y1 = box
        rows = [y0 - height - 1, y1 + 1, y0 + self.style.line + 1, y1 - height - self.style.line - 1]
        if below:
            rows = [rows[1], rows[0], rows[3], rows[2]]
        spots = [self._inside(x, y, width, height) for y in rows for x in (x0, x1 - width)]
        spot = min(spots, key=lambda s: sum(_shared(s, other) for other in self.taken))
        self.taken.append(spot)
        rim = (round(spot[0]), round(spot[1]), round(spot[2]) - 1, round(spot[3]) - 1)
        self.draw.rectangle(rim, fill=background, outline=CASING)
        middle = ((rim[0] + rim[2] + 1) / 2, (rim[1] + rim[3] + 1) / 2)
        self.draw.text(middle, text, fill=text_on(background), font=letters, anchor="mm")

    def _inside(self, x: float, y: float, width: float, height: float) -> Box:
        x = max(0.0, min(x, self.size[0] - width))
        y = max(0.0, min(y, self.size[1] - height))
        return x, y, x + width, y + height


@dataclass(frozen=True)
class Entry:
    """One line of a legend: a swatch ("box", "dashed", "fill" or "hatch") and its meaning."""

    swatch: str
    colour: str
    text: str


def add_legend(picture: Image.Image, entries: Sequence[Entry], caption: str, style: Style) -> Image.Image:
    """The picture with a strip below it, so that nothing covers anatomy: the legend, then the caption, both wrapped."""
    letters, gap = font(style.font), style.font
    swatch, row = round(1.6 * style.font), round(1.7 * style.font)
    places: list[tuple[float, float, Entry]] = []
    x, y = float(gap), float(gap) * 0.6
    for entry in entries:
        width = swatch + 0.5 * gap + letters.getlength(entry.text)
        if x > gap and x + width > picture.width - gap:
            x, y = float(gap), y + row
        places.append((x, y, entry))
        x += width + 1.5 * gap
    y += row if places else 0
    lines = _wrap(caption, letters, picture.width - 2 * gap)
    height = round(y + len(lines) * row + 0.4 * gap)
    page = Image.new("RGB", (picture.width, picture.height + height), _LEGEND_BACKGROUND)
    page.paste(picture)
    draw = ImageDraw.Draw(page)
    for x, y0, entry in places:
        top = picture.height + y0
        middle = top + row / 2
        _swatch(draw, (x, middle - 0.45 * gap, x + swatch, middle + 0.45 * gap), entry, style)
        draw.text((x + swatch + 0.5 * gap, middle), entry.text, fill=_LEGEND_INK, font=letters, anchor="lm")
    for number, line in enumerate(lines):
        middle = picture.height + y + (number + 0.5) * row
        draw.text((gap, middle), line, fill=_LEGEND_MUTED, font=letters, anchor="lm")
    return page


def _swatch(draw: ImageDraw.ImageDraw, box: Box, entry: Entry, style: Style) -> None:
    if entry.swatch == "fill":
        draw.rectangle(_whole(box), fill=entry.colour)
    elif entry.swatch == "hatch":
        x0, y0, x1, y1 = _whole(box)
        draw.rectangle((x0, y0, x1, y1), fill="#30363d")
        for x in range(x0, x1, 4 * style.line):
            draw.line((x, y1, min(x + y1 - y0, x1), y0), fill=entry.colour, width=1)
    else:
        thin = Style(line=max(2, style.line - 1), font=style.font)
        draw_box(draw, box, entry.colour, thin, dashed=entry.swatch == "dashed")


def _whole(box: Box) -> tuple[int, int, int, int]:
    """Whole pixels, at least three wide and high."""
    x0, y0 = round(box[0]), round(box[1])
    return x0, y0, max(round(box[2]), x0 + 3), max(round(box[3]), y0 + 3)


def _shared(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _wrap(text: str, letters: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and letters.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
