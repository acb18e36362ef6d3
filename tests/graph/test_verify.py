from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx.parser
import pytest

from onnx_pare.graph.load import load_model
from onnx_pare.graph.signature import Port, Signature, signature
from onnx_pare.graph.verify import problems

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N, 2] x) => (float[N, 2] y) { y = Relu(x) }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), str(path))
    return path


def test_a_good_model_has_no_problems(model: Path) -> None:
    kept = signature(load_model(model))
    assert problems(model, kept, kept) == []


def test_the_checker_is_asked(model: Path) -> None:
    proto = onnx.load(str(model))
    proto.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(proto, str(model))
    (problem,) = problems(model)
    assert problem.startswith("onnx.checker: ")


def test_onnxruntime_is_asked(model: Path) -> None:
    proto = onnx.load(str(model))
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    onnx.save(proto, str(model))
    (problem,) = problems(model)
    assert problem.startswith("onnxruntime does not load it: ")


X, Y = Port("x", "float32", ("N", 2)), Port("y", "float32", ("N", 2))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (Signature((X,), (replace(Y, name="z"),)), "outputs were ['y'], are ['z']"),
        (Signature((replace(X, dtype="float16"),), (Y,)), "input 'x' was float32, is float16"),
        (Signature((X,), (replace(Y, shape=(1, 2)),)), "output 'y' had shape ('N', 2), has (1, 2)"),
    ],
)
def test_a_changed_signature_is_a_problem(model: Path, after: Signature, message: str) -> None:
    assert problems(model, Signature((X,), (Y,)), after) == [message]


def test_a_shape_that_was_unknown_may_become_known(model: Path) -> None:
    before = Signature((X,), (replace(Y, shape=None),))
    assert problems(model, before, Signature((X,), (Y,))) == []
