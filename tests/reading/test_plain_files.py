"""PNG, TIFF and JPEG: every bit of 16, significant bits, colours that are grey, and 12 bits in 16."""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.reading import RadiographError, ReadingOptions, check_radiograph, decoder, read_radiograph, stored_size
from bundle.reading.decoder import itk_header, itk_pixels
from bundle.reading.picture_decoder import pillow_header, pillow_pixels
from tests.reading.files import write_itk
from tests.reading.plain_files import chunk, jpeg, png

OPAQUE = np.full((48, 64), 65535, np.uint16)


@pytest.fixture
def deep(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """16-bit values whose lower halves tell them apart from what 8 bits would leave."""
    return (picture.astype(np.uint32) * 65535 // picture.max()).astype(np.uint16)


TIFFS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 32)},
    "deflated": {"compression": "zlib", "predictor": True},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16)},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "colour": {"photometric": "rgb"},
    "colour in planes": {"photometric": "rgb", "planarconfig": "separate"},
    "colour in tiles": {"photometric": "rgb", "tile": (16, 16)},
    "with alpha": {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"},
    "colour with alpha": {"photometric": "rgb", "extrasamples": ["unassalpha"]},
}


@pytest.mark.parametrize(("name", "how"), TIFFS.items(), ids=TIFFS.keys())
def test_tiff_keeps_sixteen_bits(deep, tmp_path, name, how):
    layers = [deep] * (3 if "colour" in name else 1) + [OPAQUE] * ("alpha" in name)
    stored = deep if len(layers) == 1 else np.stack(layers, 0 if "planes" in name else -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, **how)
    image, metadata = read_radiograph(tmp_path / "a.tif")
    np.testing.assert_allclose(image[0], deep / 65535, atol=1e-7)
    assert metadata["window"] == {"kind": "type_range", "low": 0.0, "high": 65535.0}
    assert stored_size(tmp_path / "a.tif") == (48, 64)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_tiff_codecs_keep_sixteen_bits(deep, tmp_path, compression):
    Image.fromarray(deep).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.tif")[0][0], deep / 65535, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.uint32])
def test_tiff_of_other_numbers(picture, tmp_path, dtype):
    values = (picture // 40).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image, _ = read_radiograph(tmp_path / "a.tif", ReadingOptions(value_range=(0, 100)))
    np.testing.assert_allclose(image[0], values.astype(np.float64) / 100, atol=1e-6)


def test_a_tiff_palette_of_sixteen_bits(deep, tmp_path):
    index = (deep >> 8).astype(np.uint8)
    greys = np.linspace(0, 65535, 256).round().astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=np.stack([greys] * 3))
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.tif")[0][0], greys[index] / 65535, atol=1e-7)


def test_white_is_zero_in_any_layout(deep, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="miniswhite", tile=(16, 16))
    image, metadata = read_radiograph(tmp_path / "a.tif")
    assert metadata["inverted"]
    np.testing.assert_allclose(image[0], 1 - deep / 65535, atol=1e-6)


def test_a_tiff_that_would_lose_bits_is_refused(deep, tmp_path):
    """Tiles in LZW: ITK alone has the codec, and makes 8 bits of tiles."""
    tifffile.imwrite(tmp_path / "a.tif", deep, tile=(16, 16), metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        place = tiff.pages.first.tags[259].valueoffset
    content[place : place + 2] = (5).to_bytes(2, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(RadiographError, match=r"LZW in this layout.*uncompressed"):
        read_radiograph(tmp_path / "a.tif")


def test_a_smaller_copy_in_the_tiff_is_no_second_page(deep, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(deep, metadata=None)
        tiff.write(deep[::4, ::4], subfiletype=1, metadata=None)
    assert stored_size(tmp_path / "a.tif") == read_radiograph(tmp_path / "a.tif")[0].shape[1:] == (48, 64)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_significant_bits_of_scaled_samples_change_nothing(picture, tmp_path, bits):
    few = picture >> (12 - bits) if bits < 12 else picture << (bits - 12)
    for name, scaled in (("zeros", few << (16 - bits)), ("copies", few << (16 - bits) | few >> (2 * bits - 16))):
        plain, said = tmp_path / f"{name}.png", tmp_path / f"{name}_said.png"
        plain.write_bytes(png(scaled.astype(np.uint16)))
        said.write_bytes(png(scaled.astype(np.uint16), chunk(b"sBIT", bytes([bits]))))
        np.testing.assert_array_equal(read_radiograph(said)[0], read_radiograph(plain)[0])
        assert read_radiograph(said)[1]["notes"] == []


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_significant_bits_of_samples_that_were_not_scaled_are_their_range(picture, tmp_path, bits):
    few = picture >> (12 - bits) if bits < 12 else picture << (bits - 12) | 1
    (tmp_path / "a.png").write_bytes(png(few.astype(np.uint16), chunk(b"sBIT", bytes([bits]))))
    image, metadata = read_radiograph(tmp_path / "a.png")
    np.testing.assert_allclose(image[0], few / (2**bits - 1), atol=1e-6)
    assert metadata["window"] == {"kind": "type_range", "low": 0.0, "high": 2.0**bits - 1}
    assert "sBIT" in metadata["notes"][0]


def test_significant_bits_of_colours(deep, tmp_path):
    content = png(np.stack([deep] * 3, -1), chunk(b"sBIT", bytes([12, 12, 12])), colour=2)
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.png")[0][0], deep / 65535, atol=1e-7)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_twelve_bits_in_sixteen_are_not_left_in_the_dark(picture, tmp_path, name):
    image, metadata = read_radiograph(write_itk(picture, tmp_path / name))
    assert image.min() == 0
    assert image.max() == 1
    assert metadata["window"]["kind"] == "percentile"
    assert "small part of the range of their type" in metadata["notes"][0]


def test_a_dim_picture_of_sixteen_or_eight_bits_stays_dim(picture, tmp_path):
    wide = (picture * 6).astype(np.uint16)  # up to 21,600 of 65,535
    for pixels in (wide, (picture >> 7).astype(np.uint8)):
        image, metadata = read_radiograph(write_itk(pixels, tmp_path / "a.png"))
        assert metadata["window"]["kind"] == "type_range"
        assert image.max() < 0.35


@pytest.mark.parametrize("difference", [1, 5])
def test_nearly_equal_colours_are_grey_with_a_note(picture, tmp_path, difference):
    """One pixel of 3,072 must not stop a training that the check let begin."""
    grey = (picture >> 4).astype(np.uint8)
    colours = np.stack([grey] * 3, -1)
    colours[3, 4, 1] += difference
    (tmp_path / "a.png").write_bytes(png(colours, colour=2))
    image, metadata = read_radiograph(tmp_path / "a.png")
    assert np.abs(image[0] - grey / 255).max() <= difference / 255
    assert metadata["notes"] == [f"red, green and blue differ by up to {difference} of 255; their mean was taken"]
    assert check_radiograph(tmp_path / "a.png").size == (48, 64)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
def test_the_check_before_a_training_knows_colour(picture, tmp_path, kind):
    colours = np.stack([picture >> 4, picture >> 5, picture >> 4], -1).astype(np.uint8)
    path = tmp_path / f"a.{kind}"
    if kind == "tif":
        tifffile.imwrite(path, colours, photometric="rgb")
    else:
        path.write_bytes(png(colours, colour=2) if kind == "png" else jpeg(colours))
    assert stored_size(path) == (48, 64)  # a header does not tell
    with pytest.raises(RadiographError, match="colour"):
        check_radiograph(path)


@pytest.mark.parametrize("lengths", [(1, 1, 1), (0.2, 0.1, 3)])
def test_an_identity_in_nifti_says_no_orientation(picture, tmp_path, lengths):
    """What people give nibabel for a picture that has none: it comes back as it went in, x right, y down."""
    affine = np.diag([*lengths, 1.0])
    nibabel.save(nibabel.Nifti1Image(picture.astype(np.int16).T[:, :, None], affine), tmp_path / "a.nii")
    image, metadata = read_radiograph(tmp_path / "a.nii", ReadingOptions(value_range=(0, 4095)))
    np.testing.assert_allclose(image[0], picture / 4095, atol=1e-7)
    np.testing.assert_allclose(metadata["affine"], affine)  # where viewers put it


@pytest.mark.parametrize(
    ("attributes", "aspect"),
    [
        ({"PixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"PixelSpacing": None, "NominalScannedPixelSpacing": [0.3, 0.1]}, 3.0),
        ({"PixelSpacing": None, "PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]}, 1.0),
        ({"PixelSpacing": None}, 1.0),
        ({"PixelSpacing": None, "PixelAspectRatio": [0, 1]}, 1.0),
    ],
)
def test_pixels_that_are_not_square(picture, write_dicom, attributes, aspect):
    _, metadata = read_radiograph(write_dicom(picture, **attributes))
    assert metadata["pixel_aspect"] == pytest.approx(aspect)
    assert metadata["notes"] == []


def test_an_aspect_that_nothing_has_is_passed_over(picture, write_dicom):
    _, metadata = read_radiograph(write_dicom(picture, PixelSpacing=[20, 0.1]))
    assert metadata["pixel_aspect"] == 1
    assert "200 times as high as wide" in metadata["notes"][0]


def test_what_needs_no_itk_is_read_without_it(picture, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(picture))
    (tmp_path / "a.jpg").write_bytes(jpeg((picture >> 4).astype(np.uint8)))
    (tmp_path / "deep.png").write_bytes(png(np.stack([picture] * 3, -1), colour=2))
    write_itk(picture, tmp_path / "a.mha")
    monkeypatch.setattr(decoder, "find_spec", lambda name: None if name == "itk" else find_spec(name))
    for name in ("a.png", "a.jpg"):
        assert read_radiograph(tmp_path / name)[0].shape == (1, *picture.shape)
    for name in ("deep.png", "a.mha"):
        with pytest.raises(RadiographError, match=r"itk is not installed; `pip install -c constraints\.txt itk`"):
            read_radiograph(tmp_path / name)


def test_pillow_and_itk_read_the_same(picture, tmp_path):
    """Greys of 1 to 16 bits, colours, palettes and alpha; what a JPEG holds is decoded by one library in both."""
    grey = (picture >> 4).astype(np.uint8)
    pictures = [Image.fromarray(grey), Image.fromarray(picture), Image.fromarray(grey > 99)]
    pictures += [pictures[0].convert(mode) for mode in ("LA", "RGB", "RGBA", "P")]
    for number, each in enumerate(pictures):
        each.save(path := tmp_path / f"{number}.png")
        pixels = pillow_pixels(path, "PNG", pillow_header(path, "PNG"))
        np.testing.assert_array_equal(pixels, itk_pixels(path, "PNG", itk_header(path, "PNG")), each.mode)
    for number, each in enumerate((grey, np.stack([grey] * 3, -1))):
        (path := tmp_path / f"{number}.jpg").write_bytes(jpeg(each))
        pixels = pillow_pixels(path, "JPEG", pillow_header(path, "JPEG"))
        np.testing.assert_array_equal(pixels, itk_pixels(path, "JPEG", itk_header(path, "JPEG")))


def test_a_png_whose_pixels_changed_is_refused_though_they_unpack(picture, tmp_path):
    """A bit of pixels that are stored without compression: only the checksums tell."""
    grey = (picture >> 4).astype(np.uint8)
    lines = zlib.compress(b"".join(b"\0" + line.tobytes() for line in grey), 0)
    content = bytearray(png(grey).partition(b"IDAT")[0][:-4] + chunk(b"IDAT", lines) + chunk(b"IEND", b""))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.png")[0][0], grey / 255, atol=1e-7)
    content[content.index(b"IDAT") + 200] ^= 64
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(RadiographError, match=r"checksum of its IDAT is wrong\)\. Copy or export the file again"):
        read_radiograph(tmp_path / "a.png")
