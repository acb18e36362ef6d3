"""Where commands that read models write their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx_pare.errors import UsageError


def check_json_target(json: str, models: Sequence[Path]) -> None:
    """Find out before the work whether `--json` can be written; empty and `-` (stdout) can.

    Raises:
        UsageError: It is one of the models.
        OutputError: It cannot be written.
    """
    from onnx_pare.graph.save import check_writable, same_file

    if json in ("", "-"):
        return
    path = Path(json)
    check_writable(path, overwrite=True)
    if any(same_file(path, model) for model in models):
        raise UsageError(f"--json {path}: is the model itself", hint="Choose another name.")
