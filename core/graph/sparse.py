"""Sparse tensors become dense ones: onnx-ir drops sparse initializers silently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError
from onnx_pare.graph import protos, weights

if TYPE_CHECKING:
    import numpy as np
    import onnx

# a sparse tensor this large was made sparse because the dense one does not fit
MAX_DENSE_BYTES = 1 << 30


def densify(proto: onnx.ModelProto, path: Path) -> None:
    """Make all sparse initializers, and the sparse values of Constant nodes, dense in place.

    Raises:
        ModelError: One is inconsistent, or its dense form would be larger than 1 GiB.
    """
    from onnx import numpy_helper

    for graph, _ in protos.graphs(proto):
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            graph.initializer.append(numpy_helper.from_array(_dense(sparse, path), name))
        del graph.sparse_initializer[:]
    for node in protos.nodes(proto):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "sparse_value":
                tensor = numpy_helper.from_array(_dense(attribute.sparse_tensor, path))
                attribute.Clear()
                attribute.name, attribute.type = "value", attribute.TENSOR
                attribute.t.CopyFrom(tensor)


def _dense(sparse: onnx.SparseTensorProto, path: Path) -> np.ndarray[Any, Any]:
    """Return the dense form; `indices` are [NNZ] positions in the flat tensor, or [NNZ, rank] coordinates."""
    import numpy as np
    from onnx import numpy_helper

    where = f"{path}: sparse tensor '{sparse.values.name}'"
    for part in (sparse.values, sparse.indices):
        weights.check_tensor(part, path)
        if part.data_location == part.EXTERNAL:
            raise ModelError(f"{where}: external data in sparse tensors is not supported")
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    shape = tuple(sparse.dims)
    size_bytes = weights.element_count(shape, where) * values.itemsize
    if size_bytes > MAX_DENSE_BYTES or values.dtype.kind not in "biufc":
        raise ModelError(
            f"{where}: cannot be made dense ({size_bytes} bytes of {values.dtype})",
            hint="Export the model with dense weights.",
        )
    flat = np.zeros(size_bytes // values.itemsize, values.dtype)
    flat[_positions(indices, shape, len(flat), values.shape, where)] = values
    return flat.reshape(shape)


def _positions(
    indices: np.ndarray[Any, Any],
    shape: tuple[int, ...],
    size: int,
    values_shape: tuple[int, ...],
    where: str,
) -> np.ndarray[Any, Any]:
    import numpy as np

    bounds = np.array(shape if indices.ndim == 2 else (size,), np.int64)
    fits = (
        indices.dtype == np.int64
        and indices.ndim in (1, 2)
        and indices.shape[:1] == values_shape
        and (indices.ndim == 1 or indices.shape[1] == len(shape))
    )
    if not fits or bool(((indices < 0) | (indices >= bounds)).any()):
        raise ModelError(f"{where}: its indices do not fit its shape {list(shape)}")
    if indices.ndim == 1:
        return indices
    return np.ravel_multi_index(tuple(indices.T), shape) if shape else np.zeros(len(indices), np.int64)
