"""Loading a model in onnxruntime where a crash does no harm: in a process of its own.

Onnxruntime's optimizers can end the whole process on a graph of unusual types instead of refusing it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from onnx_pare.processes import die_with


def refusal(path: Path, *, timeout_s: float = 600.0) -> str:
    """Return why onnxruntime does not load the model at `path`, or an empty text if it does.

    Args:
        path: The ONNX file.
        timeout_s: After so many seconds the attempt is given up.
    """
    command = [sys.executable, "-m", __name__, str(path.resolve()), str(os.getpid())]
    # Started in the model's folder: `-m` puts the working folder first on the import path.
    try:
        done = subprocess.run(
            command,
            cwd=path.resolve().parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"loading it took more than {timeout_s:g} s"
    if done.returncode < 0:
        return f"crashed ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return (done.stdout or done.stderr).strip().splitlines()[-1]
    return ""


def main(path: str, parent: int) -> int:
    """Load the model and return 0, or write onnxruntime's reason to stdout and return 1."""
    die_with(parent)
    from onnx_pare.graph.runnable import open_session
    from onnx_pare.graph.session import SessionError

    try:
        open_session(Path(path))
    except SessionError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2])))
