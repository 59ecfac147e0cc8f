"""Requests a second of the MONAI Label server, beside the network alone and the inference workflow on one radiograph.

python -m scripts.benchmark serving --image eval/demo/input/RG1_UNCR.dcm --model models/demo

Starts the server by scripts/serve.sh and asks it one request after the other, as one viewer would. "network" is the
network's call in this process; "chain" reads, looks and finds candidates in this process, and saves nothing;
"inferring" is the workflow with all that it writes, without its start.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import torch
from monai.bundle import ConfigParser

from bundle.checkpoints import load_weights
from scripts.benchmark_rows import Row, benchmark, slug, turns

ROOT = Path(__file__).resolve().parents[1]


@benchmark(
    "serving.requests", needs="the demo's package, MONAI Label (scripts/serve.sh) and a radiograph (scripts.copy_rg1)"
)
def serving_requests(image: str = "RG1_UNCR.dcm", model: str = "models/demo", repeats: int = 20) -> list[Row]:
    """Medians of each way; all but the workflow in turn."""
    package, file = Path(model).resolve(), Path(image).resolve()
    with serving(package, file) as ask, torch.inference_mode():
        calls = in_process(package, file) | {
            "served by name, regions": ask(),
            "served by name, regions as NRRD": ask(result_extension=".nrrd"),
            "served by name, heat map as NRRD": ask(show="map", result_extension=".nrrd"),
            "served as an upload, regions": ask(upload=True),
        }
        seconds = turns(calls, repeats, warm=3)
    seconds["inferring, with files"] = workflow(package, file, max(3, repeats // 4))
    return [
        Row(f"serving.requests.{slug(name)}", f"{name}, {file.name}", (each * 1e3,), "ms")
        for name, each in seconds.items()
    ]


def in_process(package: Path, file: Path) -> dict[str, Callable[[], object]]:
    """The network alone, and reading, network and candidates."""
    parser = ConfigParser()
    parser.read_config(str(package / "configs" / "inference.json"))
    parser["bundle_root"] = str(package)
    network = parser.get_parsed_content("network")
    load_weights(network, package / "models" / "model.pt")
    network.eval()
    before, inferer, after = (parser.get_parsed_content(key) for key in ("preprocessing", "inferer", "postprocessing"))
    canvas = before({"image": str(file)})["image"][None]

    def chain() -> None:
        sample = before({"image": str(file)})
        output = inferer(sample["image"][None], network)
        after({**sample, "pred": output["pred"][0]})

    return {"network": lambda: inferer(canvas, network), "chain": chain}


def workflow(package: Path, file: Path, count: int) -> float:
    """Seconds a radiograph of the inference workflow: the difference of `count` + 1 radiographs and one."""

    def run(number: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in").mkdir()
            for n in range(number):
                shutil.copyfile(file, Path(folder) / "in" / f"{n}{file.suffix}")
            settings = {"bundle_root": package, "dataset_dir": f"{folder}/in", "output_dir": f"{folder}/out"}
            config = package / "configs" / "inference.json"
            command = [sys.executable, "-m", "monai.bundle", "run", "inferring", f"--config_file={config}"]
            started = time.perf_counter()
            subprocess.run([*command, *(f"--{k}={v}" for k, v in settings.items())], check=True, capture_output=True)
            return time.perf_counter() - started

    return max(1e-3, (run(count + 1) - run(1)) / count)


@contextmanager
def serving(package: Path, file: Path) -> Iterator[Callable[..., Callable[[], None]]]:
    """A server over one radiograph; yields what makes a call of POST /infer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "studies").mkdir()
        shutil.copyfile(file, Path(folder) / "studies" / file.name)
        command = ["bash", ROOT / "scripts" / "serve.sh", "--studies", f"{folder}/studies", "--model", package]
        command += ["--work", f"{folder}/work", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                if process.poll() is not None:
                    raise SystemExit("The server did not start; see what `bash scripts/serve.sh` says.")
                try:
                    name = requests.post(f"{url}/activelearning/first", json={}, timeout=60).json()["id"]
                    break
                except requests.ConnectionError:
                    time.sleep(0.5)

            def ask(upload: bool = False, **params: str) -> Callable[[], None]:
                def call() -> None:
                    files = {"file": (file.name, file.read_bytes())} if upload else None
                    query = None if upload else {"image": name}
                    data = {"params": json.dumps(params)}
                    place = f"{url}/infer/patch_clip"
                    requests.post(place, params=query, data=data, files=files, timeout=60).raise_for_status()

                return call

            yield ask
        finally:
            process.terminate()
            process.wait(30)
