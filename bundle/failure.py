"""How a command ends that fails: with the line that says what is wrong and what to do, not with MONAI's traceback."""

import opcode
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

from monai.utils.misc import MONAIEnvVars

_COMMAND = "monai.bundle.__main__"
_BUNDLE = Path(__file__).parent
_RESOLVER = "_resolve_one_item"  # of MONAI's ReferenceResolver: `id` is the key whose value it makes
# the last frame and the error of each traceback in the message of a data loader's worker, the cause before its effect
_WORKER = "DataLoader worker process"
_IN_WORKER = re.compile(
    r'^  File "(?P<file>[^"]+)", line \d+, in .+\n    (?P<source>.+)\n(?:    [ ~^]+\n)?(?P<error>\S.*(?:\n.+)*)',
    re.MULTILINE,
)


def end_plainly() -> None:
    """From now on a failing `python -m monai.bundle run` prints what is wrong last, and alone where the bundle says it.

    MONAI wraps what a component raises into "Failed to instantiate component", at the end of a hundred lines. The
    environment variable MONAI_DEBUG=1 brings them back. In other programs, such as a server, nothing is changed.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == _COMMAND and not MONAIEnvVars.debug():
        sys.excepthook = _end


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of `sys.excepthook`."""
    said = said_by_the_bundle(error)
    if said is None:
        sys.__excepthook__(kind, error, trace)
    if isinstance(error, Exception):
        hint = "" if said is None else "(MONAI_DEBUG=1 shows where.)\n"
        sys.stderr.write(f"{hint}{said or cause(error)}\n")


def said_by_the_bundle(error: BaseException) -> str | None:
    """The message of the outermost exception, of an error and its causes, that the bundle's code raised on purpose.

    Around it are MONAI's, below it the libraries' that the bundle has put into words. What Python raises by itself in
    the bundle's code, such as a KeyError, is no message for people.

    Returns:
        The message; None where there is none.
    """
    for each in _chain(error):
        if _is_raised_by_the_bundle(each):
            return str(each)
        if _WORKER in str(each):
            for found in reversed(list(_IN_WORKER.finditer(str(each)))):
                if Path(found["file"]).is_relative_to(_BUNDLE) and found["source"].startswith("raise "):
                    return found["error"].partition(": ")[2]
    return None


def cause(error: BaseException) -> str:
    """The innermost of an error and its causes, with the key of the configuration that was being made."""
    *_, first = _chain(error)
    key = next((f.f_locals["id"] for f in reversed(list(_frames(error))) if f.f_code.co_name == _RESOLVER), "")
    return f"{key}{': ' * bool(key)}{type(first).__name__}: {first}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, its cause, and so on."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_raised_by_the_bundle(error: BaseException) -> bool:
    """Whether its last frame is the bundle's, at a `raise`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    at_a_raise = opcode.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return at_a_raise and Path(code.co_filename).is_relative_to(_BUNDLE)
