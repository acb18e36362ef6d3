"""The process that runs onnxsim; started by `simplifier.run_onnxsim`, never imported by it.

Arguments: source file, target file, seconds until it ends itself, its parent's process id, names of
optimizers to skip.
"""

from __future__ import annotations

import inspect
import math
import signal
import sys
from pathlib import Path
from typing import Any

from onnx_pare import processes

# what onnxsim may unfold out of Expand, Tile and ConstantOfShape; more would make files larger, not simpler
UNFOLD_LIMIT = "1MB"


def main(source: str, target: str, timeout_s: float, parent: int, skip: list[str]) -> None:
    """Simplify `source` into `target`; an exception ends the process with its text on stderr."""
    _die_first(timeout_s, parent)
    import onnx
    import onnxsim

    wanted: dict[str, Any] = {
        "skipped_optimizers": skip,
        "tensor_size_threshold": UNFOLD_LIMIT,
        "certify": False,
        "output_path": target,  # written by onnxsim's native side: no copy of the weights in Python, no limit
    }
    known = inspect.signature(onnxsim.simplify).parameters  # releases differ
    simplified, _ = onnxsim.simplify(source, **{k: v for k, v in wanted.items() if k in known})
    if not Path(target).exists():
        onnx.save(simplified, target)


def _die_first(timeout_s: float, parent: int) -> None:
    """Outlive neither the parent, nor its patience, nor its memory."""
    processes.die_with(parent)
    processes.die_first()
    if hasattr(signal, "alarm"):
        signal.alarm(math.ceil(timeout_s) + 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
