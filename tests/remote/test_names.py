from __future__ import annotations

from pathlib import Path

import pytest

from onnx_pare.errors import ModelError
from onnx_pare.remote.names import Names


@pytest.fixture
def names() -> Names:
    names = Names()
    names.add(Path("/tmp/s/m.onnx"), "sftp://me:secret@host/zoo/m.onnx")
    names.add(Path("/tmp/s/m.onnx.data"), "sftp://me:secret@host/zoo/other.data")
    return names


def test_texts(names: Names) -> None:
    assert names.text("/tmp/s/m.onnx: bad") == "sftp://***@host/zoo/m.onnx: bad"
    assert names.text("'/tmp/s/m.onnx.data'") == "'sftp://***@host/zoo/other.data'"
    assert names.text("see https://u:p@h/x") == "see https://***@h/x"


def test_json_values(names: Names) -> None:
    said = {"path": "/tmp/s/m.onnx", "n": 1, "all": ["/tmp/s/m.onnx", None, {"x": "y"}]}
    url = "sftp://***@host/zoo/m.onnx"
    assert names.json(said) == {"path": url, "n": 1, "all": [url, None, {"x": "y"}]}


def test_errors(names: Names) -> None:
    with pytest.raises(ModelError, match=r"^sftp://\*\*\*@host/zoo/m.onnx: bad\nsee sftp"), names.in_errors():
        raise ModelError("/tmp/s/m.onnx: bad", hint="see /tmp/s/m.onnx")
