from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnx_pare.graph.session import Session, SessionError
from onnx_pare.graph.signature import Port

MODEL = """
<ir_version: 3, opset_import: ["": 8]>
g (float[N, 2] x, float[2] w) => (float[N, 2] y, float[N, 2] z)
<float[2] w = {1.0, 2.0}>
{ t = Identity(x)  y = Add(t, w)  z = Neg(y) }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), str(path))
    return path


def test_runs(model: Path) -> None:
    session = Session(model)
    assert (session.inputs, session.outputs) == (("x",), ("y", "z"))
    assert session.output_ports[0] == Port("y", "float32", ("N", 2))
    feeds = {"x": np.zeros((1, 2), np.float32)}
    y, z = session.run(feeds)
    np.testing.assert_array_equal(y, [[1, 2]])
    np.testing.assert_array_equal(z, -y)
    (only,) = session.run(feeds, ["z"])
    np.testing.assert_array_equal(only, z)


def test_a_wrong_feed_is_said_in_one_line(model: Path) -> None:
    with pytest.raises(SessionError) as error:
        Session(model).run({"x": np.zeros((1, 3), np.float32)})
    assert "\n" not in str(error.value)
    assert not str(error.value).startswith("[ONNXRuntimeError]")


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(SessionError):
        Session(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("optimize", "operators"), [(True, ["Add", "Neg"]), (False, ["Identity", "Add", "Neg"])]
)
def test_writes_the_graph_that_onnxruntime_runs(
    model: Path, tmp_path: Path, optimize: bool, operators: list[str]
) -> None:
    Session(model, optimize=optimize, optimized_path=tmp_path / "optimized.onnx")
    nodes = onnx.load(str(tmp_path / "optimized.onnx")).graph.node
    assert [node.op_type for node in nodes] == operators
