"""One colour per finding, the same in every picture, figure and table."""

# Okabe and Ito's palette for colour-blind readers (jfly.uni-koeln.de/color, 2008) without its black, which is no colour
# on a radiograph; the eighth is the purple that stays farthest from the other seven in all three kinds of colour
# blindness. All stand out from grey.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#A25DFF")
TRUTH = "#FFFFFF"  # what people drew; no finding has it
CASING = "#000000"  # the dark rim that keeps a line visible on bright bone
INK = "#1b1f24"  # text on white
MUTED = "#5b6470"  # secondary text on white, 6:1


def finding_colour(finding: int) -> str:
    """Colour of the finding at this place in the findings, as #RRGGBB.

    More than eight findings share colours, so a name always stands beside a colour.
    """
    return PALETTE[finding % len(PALETTE)]


def rgb(colour: str) -> tuple[int, int, int]:
    """#RRGGBB as three numbers 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance, 0..1 (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def text_on(colour: str) -> str:
    """Black or white, whichever is easier to read on this colour."""
    return "#000000" if luminance(colour) > 0.179 else "#FFFFFF"
