"""Boxes and map contours over the original image: a DICOM Grayscale Softcopy Presentation State."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import PresentationLUTShapeValues, PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextJustificationValues,
    TextObject,
)
from pydicom.dataset import Dataset

from bundle.reading.dicom_values import signed, words
from bundle.reading.lookup_table import read_table
from bundle.reading.value_window import linear_window
from bundle.reading.voi import Logarithm
from bundle.results.colours import TRUTH, finding_colour, rgb
from bundle.results.dicom.instance import Maker, complete, quiet_highdicom, short
from bundle.results.dicom.outlines import box_outline, map_contours
from bundle.results.dicom.source import DicomSource
from bundle.results.overlay import score_text

CONTENT_LABEL = "FINDINGS"
NOTICE_LAYER = "NOTICE"
_CODE_STRING = 16  # characters of a CS
_MAP = "_MAP"


def presentation_state(
    source: DicomSource,
    document: Mapping[str, Any],
    shown: Sequence[Mapping[str, Any]],
    maker: Maker,
    maps: npt.NDArray[np.floating[Any]] | None = None,
    levels: Mapping[str, float] | None = None,
) -> GrayscaleSoftcopyPresentationState:
    """Build the presentation state.

    Each shown finding has a layer for its boxes and labels ("MASS") and one for the contours of its map at its level
    ("MASS_MAP"), both in the finding's colour, so that a viewer can switch them off; the notice has its own. Graphics
    are in PIXEL units, which are the stored frame (`box_outline`). Grey values are those that the network's reader
    showed it: the image's modality transformation, its first VOI LUT or window or the one that the reader chose, and
    its polarity. The pixels' aspect is the image's, which viewers would otherwise take for 1.

    Args:
        source: the image.
        document: what was found (`findings_document`).
        shown: the candidates to draw (`shown_candidates`).
        maker: of the result.
        maps: (K, h, w) over the whole image, NaN where the network has not looked; None draws no contours.
        levels: of the contours, by finding; .5 where none is named.

    Returns:
        The presentation state.
    """
    image = source.header
    size = (int(image.Rows), int(image.Columns))
    findings = list(document["findings"])
    names = layer_names(findings)
    layers: list[GraphicLayer] = []
    annotations: list[GraphicAnnotation] = []

    def add(name: str, description: str, colour: str, graphics: list[GraphicObject], texts: list[TextObject]) -> None:
        layer = GraphicLayer(name, len(layers) + 1, short(description), CIELabColor.from_rgb(*rgb(colour)))
        layers.append(layer)
        annotations.append(GraphicAnnotation([image], layer, graphic_objects=graphics or None, text_objects=texts))

    with quiet_highdicom():
        for k, finding in enumerate(findings):
            level = (levels or {}).get(finding, 0.5)
            of_finding = [candidate for candidate in shown if candidate["finding"] == finding]
            contours = map_contours(maps[k], size, level) if of_finding and maps is not None else []
            if contours:
                description = f"{finding}: map at {level:g}"
                lines = [_line(points) for points in contours]
                add(names[k][: _CODE_STRING - len(_MAP)] + _MAP, description, finding_colour(k), lines, [])
            if of_finding:
                boxes = [_line(box_outline(candidate["box"], size)) for candidate in of_finding]
                labels = [_label(candidate, size) for candidate in of_finding]
                add(names[k], f"{finding}: boxes", finding_colour(k), boxes, labels)
        notice = TextObject(
            short(maker.notice, 1024),
            AnnotationUnitsValues.DISPLAY,
            bounding_box=(0.02, 0.94, 0.98, 0.99),
            text_justification=TextJustificationValues.LEFT,
        )
        add(NOTICE_LAYER, "Notice", TRUTH, [], [notice])
        voi = _voi(source)
        shape = PresentationLUTShapeValues.INVERSE if source.meta["inverted"] else PresentationLUTShapeValues.IDENTITY
        result = GrayscaleSoftcopyPresentationState(
            referenced_images=[_without_voi(image)],
            device_serial_number=None,
            content_label=CONTENT_LABEL,
            content_description=short(maker.notice),
            graphic_annotations=annotations,
            graphic_layers=layers,
            voi_lut_transformations=voi,
            presentation_lut_transformation=PresentationLUTTransformation(shape),
            **maker.series("gsps", "boxes and contours"),
            **maker.equipment(),
        )
    if image.get("ModalityLUTSequence"):  # highdicom copies rescale values only; a table goes before them (C.11.1)
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            result.pop(keyword, None)
        result.ModalityLUTSequence = deepcopy(image.ModalityLUTSequence)
    area = result.DisplayedAreaSelectionSequence[0]
    area.PresentationPixelAspectRatio = list(Fraction(source.pixel_aspect).limit_denominator(1000).as_integer_ratio())
    return complete(result, source, maker)


def layer_names(findings: Sequence[str]) -> list[str]:
    """Names of layers: the finding in capitals where it is a code string of its own, else FINDING_1, FINDING_2, ..."""
    plain = [re.sub(r"[^A-Z0-9]+", "_", finding.upper()).strip("_") for finding in findings]
    stem = _CODE_STRING - len(_MAP)
    taken = [name[:stem] for name in plain]
    return [
        name
        if re.match(r"[A-Z]", name) and len(name) <= stem and taken.count(name) == 1 and name != NOTICE_LAYER
        else f"FINDING_{k}"
        for k, name in enumerate(plain, start=1)
    ]


def _line(points: npt.NDArray[np.float64]) -> GraphicObject:
    return GraphicObject(GraphicTypeValues.POLYLINE, points, AnnotationUnitsValues.PIXEL)


def _label(candidate: Mapping[str, Any], size: tuple[int, int]) -> TextObject:
    """Finding and score at the box's top left corner."""
    x, y = box_outline(candidate["box"], size)[0].tolist()
    text = f"{candidate['finding']} {score_text(candidate['score'])}"
    return TextObject(text, AnnotationUnitsValues.PIXEL, anchor_point=(x, y), anchor_point_visible=False)


def _voi(source: DicomSource) -> list[SoftcopyVOILUTTransformation] | None:
    """The VOI step that the reader applied; None for the whole range of stored values."""
    window = source.meta["window"]
    if window["kind"] == "window":
        return [
            SoftcopyVOILUTTransformation(
                window_center=window["centre"], window_width=window["width"], voi_lut_function=window["function"]
            )
        ]
    if window["kind"] == "voi_lut":
        return [_table(_as_read(source.header.VOILUTSequence[window["index"]], window))]
    low, high = window["low"], window["high"]
    if window["kind"] == "percentile" and "logarithm" in window and high - low < 2**16:
        values = np.arange(low, high + 1)
        return [_table(_lut_item(Logarithm(**window["logarithm"]).window(values, low, high), int(low)))]
    if window["kind"] in ("percentile", "stated") or source.header.get("ModalityLUTSequence"):
        # LINEAR reaches its ends at c - 0.5 -+ (w - 1) / 2 (PS3.3 C.11.2.1.2.1)
        return [SoftcopyVOILUTTransformation(window_center=(low + high) / 2 + 0.5, window_width=high - low + 1)]
    return None


def _table(item: Dataset) -> SoftcopyVOILUTTransformation:
    """The transformation by one VOI LUT."""
    transformation = SoftcopyVOILUTTransformation(window_center=0, window_width=1)
    del transformation.WindowCenter, transformation.WindowWidth
    transformation.VOILUTSequence = [item]
    return transformation


def _as_read(item: Dataset, window: Mapping[str, Any]) -> Dataset:
    """A VOI LUT as the reader understood it: as it is, where it says what it holds."""
    if window["bits"] == int(words(item, "LUTDescriptor")[2]) and not {"first", "low"} & set(window):
        return deepcopy(item)
    table = read_table(item, "VOI LUT", [])
    entries = linear_window(table.entries, window.get("low", 0.0), window.get("high", table.top))
    return _lut_item(entries, window.get("first", table.first))


def _lut_item(entries: npt.NDArray[np.floating[Any]], first: int) -> Dataset:
    """A VOI LUT of 16 bits from entries 0..1, for the values from `first` on."""
    item = Dataset()
    count = len(entries) % 2**16  # 65536 does not fit the attribute's 16 bits: 0 stands for it
    if first < 0:
        item.add_new("LUTDescriptor", "SS", [signed(count), first, 16])
    else:
        item.add_new("LUTDescriptor", "US", [count, first, 16])
    item.add_new("LUTData", "OW", np.round(65535 * entries).astype("<u2").tobytes())
    return item


def _without_voi(image: Dataset) -> Dataset:
    """The header without what highdicom would copy by itself."""
    plain = deepcopy(image)
    plain.pop("VOILUTSequence", None)
    return plain
