"""Write locks/: the exact packages of each role, with the SHA-256 of every file that PyPI has of them.

pip install uv==0.13.9      # in an environment of its own
python -m scripts.lock_requirements

For Python 3.11 on Linux. Installations for CPUs and for CUDA differ in torch and what CUDA needs alone: these
lie apart, in locks/torch-cuda.txt. What a lock holds already is kept, where the requirements allow it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import fire

from bundle.atomic import write_file

ROOT = Path(__file__).resolve().parents[1]
ROLES = {  # lock: requirements, and whether what these need is locked too
    "inference": ("requirements-inference.txt", True),
    "onnx": ("requirements-onnx.txt", True),
    "training": ("requirements.txt", True),
    "tracking": ("requirements-tracking.txt", True),
    "data": ("requirements-data.txt", False),
    "label": ("requirements-label.txt", False),
}
CUDA = re.compile(r"(torch==|triton==|nvidia-|cuda-)")
HEAD = "# {name}, locked by `python -m scripts.lock_requirements`; {how}\n"


def main() -> None:
    """Ask the package index, and write a lock for each role."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv is missing: `pip install uv==0.13.9` in an environment of its own, and put it on the PATH.")
    cuda: dict[str, str] = {}
    for role, (requirements, all_needed) in ROLES.items():
        lock = ROOT / "locks" / f"{role}.txt"
        entries = _compiled(uv, requirements, lock, all_needed)
        apart = {name: text for name, text in entries.items() if CUDA.match(text)} if all_needed else {}
        cuda |= apart
        how = "pip install --require-hashes " + ("-r " if all_needed else "--no-deps -r ") + f"locks/{role}.txt"
        how += ", with torch-cuda.txt or after torch for CPUs" if apart else ""
        kept = [text for name, text in entries.items() if name not in apart]
        write_file(lock, HEAD.format(name=requirements, how=how) + "".join(kept))
    how = "before the lock of a role"
    write_file(ROOT / "locks" / "torch-cuda.txt", HEAD.format(name="torch and CUDA", how=how) + "".join(cuda.values()))


def _compiled(uv: str, requirements: str, lock: Path, all_needed: bool) -> dict[str, str]:
    """What uv resolves, an entry a package: "name==version" and its hashes."""
    command = [uv, "pip", "compile", requirements, "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command += ["--python-version", "3.11", "--python-platform", "linux", "--no-config"]
    command += ["--constraints", "constraints.txt"] if all_needed else ["--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        held = [file.read_text() for file in (lock, lock.with_name("torch-cuda.txt")) if file.is_file()]
        output.write_text("".join(held))
        subprocess.run([*command, "--output-file", str(output)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        entries = re.split(r"^(?=[a-z0-9])", output.read_text(), flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries if entry}


if __name__ == "__main__":
    fire.Fire(main)
