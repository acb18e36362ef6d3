"""Give a weightless graph random weights quickly, good enough to time it: neither zeros nor denormal numbers.

A weight is a `ConstantOfShape` node `weight_<name>`; untrained.py says more, and chooses weights with which
outputs mean something.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
GAIN, BIAS = 1.6, 0.1


def weighted(path: Path) -> Any:
    """Return the graph at `path` as a ModelProto with weights."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph, rng = model.graph, np.random.default_rng(0)
    sizes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    readers = {name: (node, place) for node in graph.node for place, name in enumerate(node.input)}
    for node in [node for node in graph.node if _is_weight(node) and node.input[0] in sizes]:
        shape = tuple(map(int, sizes[node.input[0]]))
        reader, place = readers.get(node.output[0], (None, 0))
        graph.initializer.append(numpy_helper.from_array(_draw(rng, shape, reader, place), node.output[0]))
        graph.node.remove(node)
    return model


def feeds(model: Any) -> dict[str, Any]:
    """Return normal numbers for every input of fixed shape; 1 for a dimension that is free."""
    rng, known = np.random.default_rng(1), {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: rng.standard_normal(
            [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
        if value.name not in known
    }


def _is_weight(node: Any) -> bool:
    from onnx import TensorProto

    if node.op_type != "ConstantOfShape" or not node.name.startswith("weight_"):
        return False
    return any(a.name == "value" and a.t.data_type == TensorProto.FLOAT for a in node.attribute)


def _draw(rng: np.random.Generator, shape: tuple[int, ...], reader: Any, place: int) -> Any:
    if reader is not None and reader.op_type.endswith("Normalization"):
        return np.full(shape, 1.0 if place in (1, 4) else 0.01, np.float32)
    scale = BIAS
    if reader is not None and reader.op_type in WEIGHTED and place == 1:
        outputs_first = reader.op_type == "Conv" or any(a.name == "transB" and a.i for a in reader.attribute)
        inputs = int(np.prod(shape[1:])) if outputs_first else shape[-2] if len(shape) > 1 else 1
        scale = (GAIN / max(1, inputs)) ** 0.5
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
