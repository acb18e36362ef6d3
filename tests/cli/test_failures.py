from __future__ import annotations

import errno

import pytest

from onnx_pare.cli.failures import Failure, explained
from onnx_pare.errors import PassError, UsageError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UsageError("no model", hint="Give one."), Failure("no model", "Give one.", 2)),
        (PassError("p", "no"), Failure("pass p: no", "", 3)),
    ],
)
def test_ours(error: Exception, expected: Failure) -> None:
    assert explained(error) == expected


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (MemoryError(), 3, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "[Errno 28] No space left on device"),
        (RuntimeError("a\n\nb" + "c" * 1000), 3, "internal error: RuntimeError: a bccc"),
    ],
)
def test_those_of_others(error: Exception, code: int, start: str) -> None:
    failure = explained(error)
    assert failure.exit_code == code
    assert failure.message.startswith(start)
    assert "\n" not in failure.message
    assert len(failure.message) < 600
    assert failure.hint
