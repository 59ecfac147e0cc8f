"""Requests a second of the MONAI Label server, beside the network alone and the inference workflow on one radiograph.

python -m scripts.benchmark_serving --image eval/demo/input/RG1_UNCR.dcm --model models/demo

Starts the server by scripts/serve.sh and asks it one request after the other, as one viewer would. "network" is the
network's call in this process; "chain" reads, looks and finds candidates in this process, and saves nothing;
"inferring" is the workflow with all that it writes, without its start.
"""

import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fire
import requests
import torch
from monai.bundle import ConfigParser

from bundle.checkpoints import load_weights

ROOT = Path(__file__).resolve().parents[1]


def main(image: str, model: str = "models/demo", repeats: int = 20) -> None:
    """Print a table: milliseconds (median) and requests a second of each way; all but the workflow in turn."""
    package, file = Path(model).resolve(), Path(image).resolve()
    with serving(package, file) as ask, torch.inference_mode():
        calls = in_process(package, file) | {
            "served by name, regions": ask(),
            "served by name, regions as NRRD": ask(result_extension=".nrrd"),
            "served by name, heat map as NRRD": ask(show="map", result_extension=".nrrd"),
            "served as an upload, regions": ask(upload=True),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(repeats + 3):
            for name, call in calls.items():
                started = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - started)
    rows = {name: statistics.median(values[3:]) for name, values in times.items()}  # the first three warm up
    rows["inferring, with files"] = workflow(package, file, max(3, repeats // 4))
    print(f"| {file.name} | ms | per second |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {1e3 * seconds:.0f} | {1 / seconds:.1f} |")


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


if __name__ == "__main__":
    fire.Fire(main)
