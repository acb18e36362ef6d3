from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.cli.models import check_json_target
from onnx_pare.errors import OutputError, UsageError


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name in ("b.onnx", "a.onnx", "deep/c.onnx", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_json_is_never_written_over_a_model(zoo: Path) -> None:
    model = str(zoo / "a.onnx")
    with pytest.raises(UsageError, match="is the model itself"):
        check_json_target(str(zoo / "deep" / ".." / "a.onnx"), [model])
    check_json_target("-", [model])
    check_json_target("", [model])
    check_json_target(str(zoo / "out.json"), [model])


def test_json_that_cannot_be_written_is_found_out_first(zoo: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        check_json_target(str(zoo / "none" / "out.json"), [])
