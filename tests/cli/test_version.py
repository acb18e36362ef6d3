from __future__ import annotations

from typing import Any

from onnx_pare import __version__


def test_version(command: Any) -> None:
    ran = command("pare", "--version")
    assert (ran.code, ran.out, ran.err) == (0, f"onnx-pare {__version__}\n", "")
