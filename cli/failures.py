"""What an error becomes: a message, what to do next, and an exit code."""

from __future__ import annotations

import errno
from dataclasses import dataclass

EXIT_USAGE = 2
EXIT_FAILED = 3
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Failure:
    """What a user is told of an error: what is wrong, what to do next (may be empty), and the exit code."""

    message: str
    hint: str
    exit_code: int


def explained(error: Exception) -> Failure:
    """Return what a user is told of an error, be it ours or not."""
    from onnx_pare.errors import PareError

    if isinstance(error, PareError):
        return Failure(error.message, error.hint, error.exit_code)
    said = " ".join(str(error).split())[:500]
    if isinstance(error, MemoryError):
        hint = "Use fewer calibration samples, or a machine with more memory."
        return Failure("out of memory", hint, EXIT_FAILED)
    if isinstance(error, OSError) and error.errno in FULL:
        return Failure(said, "Free some space; TMPDIR says where temporary files go.", EXIT_USAGE)
    bug = "This is a bug in onnx-pare: please report it, with the traceback that --debug shows."
    return Failure(f"internal error: {type(error).__name__}: {said}", bug, EXIT_FAILED)
