"""What a file does to its decoder is not done to the process that reads: killed, hanging, greedy or lying decoders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, RLELossless
from torch.utils.data import DataLoader

from bundle.reading import RadiographError, ReadingOptions, decoder, read_radiograph
from bundle.reading.decoder import Decoder, DecoderError
from tests.deadly import deadly
from tests.reading.files import write_itk

ROOT = Path(__file__).resolve().parents[2]
HERE = ReadingOptions(isolated=False)


@pytest.fixture
def own(monkeypatch):
    """A function that gives this test a decoder of its own, with other limits."""
    made: list[Decoder] = []

    def make(**limits: int) -> Decoder:
        made.append(Decoder(**limits))
        monkeypatch.setattr(decoder, "_decoder", made[-1])
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def good(picture, write_dicom):
    return write_dicom(picture, "good.dcm", JPEG2000Lossless)


def child_of(made: Decoder) -> int:
    assert made._child is not None
    return made._child.process.pid


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended and waits to be asked how is not running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def python(code: str, *arguments: object, **more: object) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT / "tests", env=environment, text=True, **pipes, **more)


def test_a_file_that_ends_gdcm_ends_only_the_decoder(picture, write_dicom, good, tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(deadly(write_dicom(picture).read_bytes()))
    code = "import sys; from bundle.reading import *; read_radiograph(sys.argv[1], ReadingOptions(isolated=False))"
    with python(code, bad) as without:
        without.communicate()
    assert without.returncode == -signal.SIGABRT  # the danger is real
    for _ in range(2):
        with pytest.raises(RadiographError, match=r"bad\.dcm: the pixels, in JPEG Lossless.*ended by SIGABRT\. Export"):
            read_radiograph(bad)
        assert np.array_equal(read_radiograph(good)[0], read_radiograph(good, HERE)[0])


def test_a_decoder_that_hangs_is_stopped(own, good):
    made = own(seconds=1)
    read_radiograph(good)
    os.kill(child_of(made), signal.SIGSTOP)
    with pytest.raises(RadiographError, match="stopped after 1 second"):
        read_radiograph(good)
    read_radiograph(good)


def test_a_decoder_that_takes_too_much_memory_is_an_error(own, write_dicom, good):
    large = write_dicom(np.zeros((6000, 6000), np.uint16), "large.dcm", RLELossless)
    assert large.stat().st_size < 2_000_000
    own(memory=160 * 2**20)
    for _ in range(2):
        with pytest.raises(RadiographError, match="do not decode"):
            read_radiograph(large)
        read_radiograph(good)
    own()
    read_radiograph(large)


@pytest.mark.parametrize("other", ["image.dcm", "image.png"])
def test_a_decoder_that_was_killed_is_replaced(own, picture, write_dicom, tmp_path, good, other):
    made = own()
    read_radiograph(good)
    os.kill(child_of(made), signal.SIGKILL)
    path = write_dicom(picture, syntax=RLELossless) if other.endswith("dcm") else write_itk(picture, tmp_path / other)
    assert read_radiograph(path)[0].shape == (1, 48, 64)


def test_a_good_file_is_not_blamed_for_the_one_before(own, good):
    """What has damaged the decoder may show only later."""
    made = own()
    first = read_radiograph(good)[0]
    os.kill(child_of(made), signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (child_of(made), signal.SIGKILL)).start()
    assert np.array_equal(read_radiograph(good)[0], first)


def test_threads_share_a_decoder(own, picture, write_dicom):
    made = own()
    paths = [write_dicom(picture + 50 * i, f"{i}.dcm", JPEG2000Lossless) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_radiograph, paths * 3))
    for i, (image, _) in enumerate(read):
        assert np.array_equal(image, read_radiograph(paths[i % 8], HERE)[0])
    child = child_of(made)
    read_radiograph(paths[0])
    assert child_of(made) == child  # the thread that started it has ended


class Files:
    """A data set of mean values, and the process that decoded them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[float, int]:
        return float(read_radiograph(self.paths[index])[0].mean()), child_of(decoder._decoder)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_have_their_own(own, good, context):
    made = own()
    mean = float(read_radiograph(good)[0].mean())
    here = child_of(made)
    loader = DataLoader(Files([good] * 8), batch_size=None, num_workers=2, multiprocessing_context=context)
    means, children = zip(*loader, strict=True)
    assert set(means) == {mean}
    assert len(set(children)) == 2
    assert here not in children
    for child in set(children):
        wait_until_gone(child)
    read_radiograph(good)
    assert child_of(made) == here  # which the workers have left alone


READ_AND_SAY = """
import sys, time
from bundle.reading import decoder, read_radiograph
read_radiograph(sys.argv[1])
print(decoder._decoder._child.process.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_decoder_ends_with_its_process(good, ending):
    with python(READ_AND_SAY, good, 0 if ending is None else 60) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if ending is not None:
            assert is_running(child)
            parent.send_signal(ending)
        said = parent.communicate()
    assert parent.returncode == (0 if ending is None else -ending)
    assert said == ("", "")  # no warning of a process or a file left open
    wait_until_gone(child)


def test_what_is_meant_for_the_process_does_not_end_its_decoder(own, good):
    """Ctrl-C reaches both; the node then still reads what it has in hand."""
    made = own()
    read_radiograph(good)
    child = child_of(made)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child, number)
    read_radiograph(good)
    assert child_of(made) == child


def test_a_decoder_has_nothing_that_it_does_not_need(own, monkeypatch, tmp_path, good):
    monkeypatch.setenv("SECRET", "s")
    made = own()
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        read_radiograph(good)
        place = Path(f"/proc/{child_of(made)}")
        opened = sorted(str(each.readlink()) for each in (place / "fd").iterdir())
    assert len(opened) == 4
    assert opened[:3] == ["/dev/null", "/dev/null", "/memfd:pixels (deleted)"]
    assert opened[3].startswith("socket:")
    assert b"SECRET" not in (place / "environ").read_bytes()
    loaded = (place / "maps").read_text()
    assert "openjpeg" in loaded
    assert "torch" not in loaded
    limits = (place / "limits").read_text()
    assert f"Max data size             {decoder.MEMORY} " in limits
    assert "Max core file size        0 " in limits


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLosslessSV1])
def test_what_needs_no_decoder_starts_none(own, picture, write_dicom, syntax):
    made = own()
    read_radiograph(write_dicom(picture, syntax=syntax), HERE)
    assert made._child is None
    read_radiograph(write_dicom(picture, syntax=syntax))
    assert (made._child is None) == (syntax == ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    "answer",
    [
        "b'no JSON'",
        "b'[' * 60000",
        "b'[1]'",
        "b'{}'",
        "b'{\"result\": 1}'",
        "pixels('|O', [48, 64])",
        "pixels('<u2,(9)f8', [48, 64])",
        "pixels('<u2', [64, 48])",
        "pixels('<u2', [48, 64, 1])",
        "pixels('<u8', [48, 64])",  # of which the area holds fewer
        "pixels('<u2', None)",
        "pixels(2, [48, 64])",
    ],
)
def test_what_a_decoder_answers_is_not_trusted(own, monkeypatch, tmp_path, good, answer):
    """One that a file has taken over, say."""
    (tmp_path / "lying.py").write_text(
        "import json, os, socket, sys\n"
        "channel, area = socket.socket(fileno=0), int(sys.argv[2])\n"
        "def pixels(dtype, shape): return json.dumps({'dtype': dtype, 'shape': shape}).encode()\n"
        "channel.recv(65536); channel.send(b'{\"result\": null}')\n"
        f"channel.recv(65536); os.pwrite(area, bytes(48 * 64 * 2), 0); channel.send({answer}); channel.recv(1)\n"
    )
    made = own()
    monkeypatch.setattr(decoder, "WORKER", tmp_path / "lying.py")
    with pytest.raises(RadiographError, match="answer is not what the header promises"):
        read_radiograph(good)
    assert made._child is None
    monkeypatch.undo()
    read_radiograph(good)


def test_a_header_from_a_decoder_is_not_trusted(monkeypatch, picture, tmp_path):
    path = write_itk(picture, tmp_path / "image.png")
    for said in (None, [], {}, {"shape": ["x"], "affine": [[1]], "channels": 1, "component": "short"}):
        monkeypatch.setattr(Decoder, "ask", lambda *_, said=said, **__: said)
        with pytest.raises(RadiographError, match="answer is no header"):
            read_radiograph(path)


def test_a_decoder_that_does_not_start_is_no_files_fault(own, monkeypatch, tmp_path, good):
    own()
    (tmp_path / "broken.py").write_text("raise ImportError('numpy')")
    monkeypatch.setattr(decoder, "WORKER", tmp_path / "broken.py")
    with pytest.raises(DecoderError, match="ended by exit status 1"):
        read_radiograph(good)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(DecoderError, match="does not start: No such file or directory"):
        read_radiograph(good)


def test_a_reader_that_is_interrupted_does_not_mix_up_answers(own, picture, write_dicom, good):
    made = own()
    other = write_dicom(picture[::-1].copy(), "other.dcm", JPEG2000Lossless)
    wanted = read_radiograph(other)[0]
    os.kill(child_of(made), signal.SIGSTOP)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            read_radiograph(good)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert np.array_equal(read_radiograph(other)[0], wanted)
