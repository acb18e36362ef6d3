"""Running onnxsim where it can do no harm: in a process of its own, with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHILD = "onnx_pare.graph.simplifier_child"


class SimplifierError(Exception):
    """Onnxsim crashed, was killed, hung or refused the model; the message says which."""


class SimplifierTimeoutError(SimplifierError):
    """Onnxsim did not end in time."""


def run_onnxsim(source: Path, target: Path, *, skip: Sequence[str], timeout_s: float) -> None:
    """Simplify the model file `source` into the new file `target`.

    onnxsim is native code that can crash, run out of memory or never end; none of that reaches this process.
    The models travel as files, so no size limit of protobuf applies and no weight is held here.

    Args:
        source: The ONNX file; external data beside it is found.
        target: The file to write; its external data, if it needs any, goes beside it.
        skip: Names of onnxsim optimizers to leave out.
        timeout_s: After so many seconds the process and its children are killed.

    Raises:
        SimplifierTimeoutError: The time was over.
        SimplifierError: For another reason no simplified model was written.
    """
    source, target = source.resolve(), target.resolve()
    command = [sys.executable, "-m", CHILD, str(source), str(target), str(timeout_s), str(os.getpid()), *skip]
    # Started in the scratch folder: `-m` puts the working folder first on the import path.
    process = subprocess.Popen(
        command,
        cwd=target.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise SimplifierTimeoutError(f"onnxsim did not end within {timeout_s:g} s and was stopped") from None
    finally:
        _kill(process)
    if process.returncode != 0:
        raise SimplifierError(_reason(process.returncode, complaint))
    if not target.is_file():
        raise SimplifierError("onnxsim ended without writing a model")


def _kill(process: subprocess.Popen[str]) -> None:
    """Stop the process with all that it started; nothing happens if they have ended."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass
    process.wait()


def _reason(returncode: int, complaint: str) -> str:
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"onnxsim was ended by {name}{hint}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return f"onnxsim failed: {lines[-1][:300]}" if lines else f"onnxsim ended with code {returncode}"
