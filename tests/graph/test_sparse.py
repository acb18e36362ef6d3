"""Sparse tensors become dense ones with the same numbers, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session

FLAT = [1, 5]
COORDINATES = [[0, 1], [1, 2]]


def sparse(indices: object, dims: list[int], values: object = (2.0, -3.0)) -> onnx.SparseTensorProto:
    held = numpy_helper.from_array(np.array(values, np.float32), "w")
    return helper.make_sparse_tensor(held, numpy_helper.from_array(np.array(indices, np.int64), "at"), dims)


def saved(tensor: onnx.SparseTensorProto, path: Path, *, constant: bool) -> Path:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=tensor))
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [2, 3])], [value("y", TensorProto.FLOAT, [2, 3])]
    )
    if not constant:
        graph.sparse_initializer.append(tensor)
    imports = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())
    return path


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("indices", [FLAT, COORDINATES])
def test_dense_has_the_same_numbers(indices: object, constant: bool, tmp_path: Path) -> None:
    model = load_model(saved(sparse(indices, [2, 3]), tmp_path / "m.onnx", constant=constant))
    write_model(model, tmp_path / "out.onnx")
    (y,) = Session(tmp_path / "out.onnx").run({"x": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(y, [[0, 2, 0], [0, 0, -3]])


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (sparse(FLAT, [1 << 20, 1 << 12]), "cannot be made dense"),
        (sparse(FLAT, [1 << 40, 1 << 12]), "impossible shape"),
        (sparse(FLAT, [-2, 3]), "impossible shape"),
        (sparse([1, 6], [2, 3]), "do not fit"),
        (sparse([-1, 5], [2, 3]), "do not fit"),
        (sparse([1], [2, 3]), "do not fit"),
        (sparse([[0, 1], [2, 0]], [2, 3]), "do not fit"),
        (sparse([[[0]], [[1]]], [2, 3]), "do not fit"),
    ],
)
def test_inconsistent_or_huge_is_refused(tensor: onnx.SparseTensorProto, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(saved(tensor, tmp_path / "m.onnx", constant=False))
