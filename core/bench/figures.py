"""Writing a figure: what can be checked before anything is measured, and the file."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import UsageError
from onnx_pare.graph.save import check_writable, publish_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")


def check_figure(path: Path) -> None:
    """Check that a figure can be written there, before the work that leads to it.

    Raises:
        UsageError: The suffix names no known format, or matplotlib is not installed.
        OutputError: The folder cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: the suffix of a figure says its format, and '{path.suffix}' is none of them",
            hint=f"Known: {', '.join(SUFFIXES)}",
        )
    if find_spec("matplotlib") is None:
        raise UsageError(
            f"{path}: figures are drawn with matplotlib, which is not installed",
            hint="pip install 'onnx-pare[plot]'",
        )
    check_writable(path, overwrite=True)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its suffix: whole, or not at all.

    Text stays text in SVG and PDF; equal figures give equal files.

    Raises:
        UsageError: The suffix names no known format.
        OutputError: The file cannot be written.
    """
    import matplotlib

    check_figure(path)
    kind = path.suffix.lower().removeprefix(".")
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "onnx-pare"}):
        figure.savefig(buffer, format=kind, metadata=dated)
    publish_bytes(buffer.getvalue(), path)
