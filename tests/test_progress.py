from __future__ import annotations

import pytest

from onnx_pare.progress import Silent


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with Silent().task("calibrate", 3) as advance:
        advance(1)
        advance(2)
    with Silent().task("unknown length", None) as advance:
        advance(5)
    assert capfd.readouterr() == ("", "")
