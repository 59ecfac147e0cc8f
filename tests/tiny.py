"""A tiny data set of real DICOM files: noise with a bright square for "Mass" and a dark band for "Effusion"."""

import json
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

FINDINGS = ["Effusion", "Mass"]
COUNTS = {"training": 12, "validation": 5, "test": 5}


def write_dicom(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    """A minimal DX image of 12-bit pixels (H, W)."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    ds.Modality, ds.PhotometricInterpretation = "DX", "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 16, 12, 11, 0
    ds.PixelSpacing = [0.5, 0.5]
    ds.PatientName, ds.PatientID = "Secret^Name", "SECRET-ID"
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def write_tiny_data(folder: Path, counts: dict[str, int] = COUNTS, seed: int = 0) -> Path:
    """Write images and datalist.json into `folder`; returns the datalist's path."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    datalist: dict[str, object] = {"findings": FINDINGS}
    number = 0
    for section, count in counts.items():
        entries = []
        for i in range(count):
            height, width = (96, 112) if i % 2 else (120, 90)
            pixels = rng.normal(1500, 150, (height, width))
            mass, effusion = i % 2 == 0, i % 3 == 0
            boxes = []
            if mass:
                x, y = rng.integers(5, width - 30), rng.integers(5, height - 30)
                pixels[y : y + 20, x : x + 20] += 1500
                boxes.append({"finding": "Mass", "box": [int(x), int(y), int(x) + 20, int(y) + 20]})
            if effusion:
                pixels[height - 16 :, : width // 2] = 100
                boxes.append({"finding": "Effusion", "box": [0, height - 16, width // 2, height]})
            name = f"images/{number:03d}.dcm"
            write_dicom(folder / name, np.clip(pixels, 0, 4095))
            entries.append(
                {
                    "image": name,
                    "patient_id": f"patient-{number}",
                    "report": f"Findings: {'A mass.' if mass else 'No mass.'} SecretReport{number}.",
                    "labels": {"Mass": int(mass), "Effusion": int(effusion)},
                    "boxes": boxes,
                    "boxed": FINDINGS,
                }
            )
            number += 1
        datalist[section] = entries
    path = folder / "datalist.json"
    path.write_text(json.dumps(datalist))
    return path
