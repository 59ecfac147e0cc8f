"""Commands in processes of their own that need not import MONAI, which takes ten times as long as a tiny run.

A server, a process without anything of the bundle in it, imports MONAI once and forks for each command; the fork is
then what `python -m <module>` is, from its arguments to its exit. It shares the seed of Python's string hashes with the
server's other forks: what must not depend on it is for a real process (`Place.run(..., fresh=True)`).
"""

import atexit
import gc
import importlib
import json
import os
import random
import runpy
import subprocess
import sys
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory

MODULES = ("monai.bundle", "fire", "numpy")


class Preloaded:
    """The server, as the tests see it: started with the first command, ended with this process.

    Args:
        environment: of all commands.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._server: subprocess.Popen[str] | None = None
        atexit.register(self.close)

    def run(self, command: list[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with captured output, of what follows `python -m`.

        Raises:
            TimeoutExpired: the command took longer; it is killed, and so is the server.
        """
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        # the guard over the checkout's products looks at it as at any other process
        sys.audit("subprocess.Popen", sys.executable, [sys.executable, "-m", *command], str(cwd), self.environment)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with TemporaryDirectory() as folder:
            output = [f"{folder}/{name}" for name in ("stdout", "stderr")]
            self._server.stdin.write(json.dumps({"command": command, "cwd": str(cwd), "output": output}) + "\n")
            self._server.stdin.flush()
            if not select([self._server.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(command, timeout)
            status = int(self._server.stdout.readline())
            told = [Path(path).read_text(encoding="utf-8") for path in output]
        return subprocess.CompletedProcess(command, status, *told)

    def close(self) -> None:
        """End the server and what it runs."""
        if self._server is not None:
            os.killpg(self._server.pid, 9)
            self._server.communicate()
            self._server = None


def serve() -> list[str] | None:
    """Fork for each command that stdin names, and tell how it ended; in a fork, return the command."""
    for line in sys.stdin:
        wanted = json.loads(line)
        if (pid := os.fork()) == 0:
            _become(wanted["cwd"], *wanted["output"])
            command: list[str] = wanted["command"]
            return command
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, flush=True)  # noqa: T201 - the answer
    return None


def _become(cwd: str, *output: str) -> None:
    """What a process that is started has of its own: folder, files, and numbers that nobody seeded."""
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(output, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    random.seed()
    sys.modules["numpy"].random.seed()


if __name__ == "__main__":
    importlib.import_module("checkout").watch()  # beside this file
    sys.path.remove(str(Path(__file__).parent))
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # the forks need not copy what they do not change
    found = serve()
    if found is not None:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as -m has it
        sys.argv = found
        runpy.run_module(found[0], run_name="__main__", alter_sys=True)
