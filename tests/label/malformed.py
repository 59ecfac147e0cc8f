"""Files that are no radiograph, as they come: cut off, damaged, lying about themselves, of other kinds."""

import gzip
import io

import nibabel
import numpy as np
import pydicom
from PIL import Image

from tests.deadly import deadly

EXPLICIT = b"1.2.840.10008.1.2.1\0"  # a transfer syntax, padded


def malformed(good, count, seed=0):
    """`count` pairs (name, bytes), none of them one complete grey radiograph.

    Args:
        good: bytes of a good, uncompressed DICOM file.
        count: how many.
        seed: of where they are cut and damaged.
    """
    rng = np.random.default_rng(seed)
    files = [("deadly.dcm", deadly(good)), *_lying(good), *_other_kinds()]
    while len(files) < count:
        kind = len(files) % 4
        if kind == 0:
            files.append((f"cut{len(files)}.dcm", good[: int(rng.integers(1, len(good) - 2))]))
        elif kind == 1:
            files.append((f"noise{len(files)}.dcm", rng.bytes(int(rng.integers(1, 5000)))))
        elif kind == 2:
            files.append((f"noise{len(files)}.dcm", bytes(128) + b"DICM" + rng.bytes(int(rng.integers(1, 5000)))))
        else:  # the elements before the pixels damaged, and then cut
            damaged = bytearray(good[: len(good) // 2])
            for place in rng.integers(132, 600, 20):
                damaged[place] = int(rng.integers(256))
            files.append((f"damaged{len(files)}.dcm", bytes(damaged)))
    return files[:count]


def _lying(good):
    """DICOM files whose header does not fit what they hold."""
    wrong = [
        {"Rows": 60_000, "Columns": 60_000},
        {"Rows": 0},
        {"Columns": 7},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"NumberOfFrames": 3},
        {"BitsAllocated": 0},
        {"BitsAllocated": 12},
        {"BitsStored": 99},
        {"PixelData": None},
        {"PixelData": b""},
        {"Rows": None},
        {"transfer": "1.2.3.4"},  # a known one that is wrong is put right: tests/reading/test_dicom_containers.py
    ]
    for number, tags in enumerate(wrong):
        ds = pydicom.dcmread(io.BytesIO(good))
        for name, value in tags.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)
        out = io.BytesIO()
        if syntax := tags.get("transfer"):
            yield f"lying{number}.dcm", good.replace(EXPLICIT, syntax.encode().ljust(len(EXPLICIT), b"\0"), 1)
            continue
        pydicom.dcmwrite(out, ds, implicit_vr=False, little_endian=True, force_encoding=True)
        yield f"lying{number}.dcm", out.getvalue()


def _other_kinds():
    """Files of other formats, broken or not."""

    def png(array):
        out = io.BytesIO()
        Image.fromarray(array).save(out, "PNG")
        return out.getvalue()

    def nifti(array):
        return gzip.compress(nibabel.Nifti1Image(array, np.eye(4)).to_bytes())

    grey, rng = png(np.full((64, 64), 7, np.uint8)), np.random.default_rng(1)
    volume = nifti(np.zeros((9, 9, 9), np.float32))
    yield "empty.dcm", b""
    yield "text.png", b"Secret^Name"
    yield "page.dcm", b"<html><body>not found</body></html>"
    yield "archive.zip", b"PK\x03\x04" + rng.bytes(500)
    yield "volume.nii.gz", volume
    yield "cut.nii.gz", volume[: len(volume) // 2]
    yield "large.nii.gz", nifti(np.zeros((11_000, 11_000, 1), np.uint8))
    yield "large.png", png(np.zeros((11_000, 11_000), np.uint8))
    yield "noise.nii.gz", rng.bytes(300)
    yield "colour.png", png(rng.integers(0, 255, (9, 9, 3), np.uint8))
    yield "cut.png", grey[: len(grey) // 2]
    yield "head.png", grey[:20]
    yield "cut.jpg", b"\xff\xd8\xff\xe0" + rng.bytes(200)
    yield "cut.tif", b"II*\0" + rng.bytes(200)
    yield f"{'long' * 100}.{'suffix' * 100}", b"x"
    yield "none", rng.bytes(200)
