"""A node with a small analyser in place of the network, as a process; `--forever` starts it again after each kill."""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from bundle.node.queue import DiskQueue
from bundle.node.receiver import start_receiver
from bundle.node.running import run_node
from bundle.node.sender import make_sender
from bundle.node.service import Node


def analyse(file: Path, folder: Path) -> list[Path]:
    """A Secondary Capture, the radiograph's negative; its UID follows from its own. A fault where its label says so."""
    data = dcmread(file)
    label = data.get("SeriesDescription", "")
    if label == "poison":
        raise RuntimeError("Secret^Name")
    if label == "colour":
        raise ValueError("it is colour")
    if label == "exit":
        raise SystemExit("Secret^Name")
    time.sleep(0.01)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, result_uid(data.SOPInstanceUID)
    data.PixelData = negative(data.PixelData)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(folder / "result_sc.dcm", enforce_file_format=True)
    return [folder / "result_sc.dcm"]


def negative(pixels: bytes) -> bytes:
    """Of stored pixels of 12 bits."""
    return (4095 - np.frombuffer(pixels, "<u2")).astype("<u2").tobytes()


def result_uid(uid: str) -> str:
    """Of the result of a radiograph."""
    return str(generate_uid(entropy_srcs=[uid]))


def run(options: argparse.Namespace) -> str | None:
    queue = DiskQueue(options.queue)
    tempfile.tempdir = str(queue.work)
    sender = make_sender(f"PACS@127.0.0.1:{options.pacs}")
    node = Node(queue, analyse, sender, first_wait=0.05, longest_wait=0.4, idle=0.01)
    return run_node(node, lambda: start_receiver(queue, port=options.port, watch=node.watch), options.monitor)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queue", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pacs", type=int, required=True)
    parser.add_argument("--monitor", type=int)
    parser.add_argument("--forever", type=Path, help="file for the process's number")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    if options.forever is None:
        sys.exit(run(options))
    while True:  # a fork has the libraries already
        if (child := os.fork()) == 0:
            sys.exit(run(options))
        options.forever.write_text(str(child))
        if os.waitpid(child, 0)[1] == 0:
            return


if __name__ == "__main__":
    main()
