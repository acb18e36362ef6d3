"""Give a weightless graph seeded weights with which its activations neither vanish nor explode.

A weight is a `ConstantOfShape` node `weight_<name>`. Those of Conv, Gemm and MatMul become He-normal (He et
al. 2015) and are scaled, front to back, so that the output has unit variance on a synthetic input (LSUV:
Mishkin and Matas, "All you need is a good init", 2016). Biases are small, a BatchNormalization gets the mean
and variance of its input, and integer tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ARCHS = (
    "mobilenet_v3_small",
    "efficientnet_b0",
    "shufflenet_v2_x1_0",
    "densenet121",
    "resnet18",
    "resnet50",
)
WEIGHTED = ("Conv", "Gemm", "MatMul")
BIAS, SMALLEST_VARIANCE = 0.1, 1e-3

Array = np.ndarray[Any, Any]


def write(source: Path, target: Path, seed: int = 0) -> None:
    """Write the graph of `source` with weights to `target`."""
    import onnx
    from onnx import numpy_helper

    from onnx_pare.calibration.synthetic import synthetic_samples
    from onnx_pare.graph.load import load_model

    model = onnx.load(source)
    sample = next(iter(synthetic_samples(load_model(source), count=1, seed=seed)))
    weights = _Weights(model, seed)
    values = dict(sample) | {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    last_use = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    for index, node in enumerate(model.graph.node):
        if node.output[0] in weights.shapes:
            continue
        outputs = weights.run(node, values)
        values.update(zip((name for name in node.output if name), outputs, strict=True))
        for name in node.input:
            if last_use[name] == index:
                values.pop(name, None)
    weights.store()
    onnx.save(model, target)


class _Weights:
    """The weights of a model, chosen node by node in the order of execution."""

    def __init__(self, model: Any, seed: int) -> None:
        from onnx import numpy_helper

        self._model = model
        self._rng = np.random.default_rng(seed)
        self._chosen: dict[str, Array] = {}
        sizes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._nodes = [n for n in model.graph.node if _is_weight(n)]
        self.shapes = {n.output[0]: tuple(map(int, sizes[n.input[0]])) for n in self._nodes}

    def run(self, node: Any, values: dict[str, Array]) -> list[Array]:
        """Choose the weights of a node, run it, and return its outputs."""
        for place, name in enumerate(node.input):
            if name in self.shapes and name not in self._chosen:
                self._chosen[name] = self._draw(node, place, self.shapes[name])
        if node.op_type == "BatchNormalization":
            self._normalize(node, values[node.input[0]])
        if node.op_type in WEIGHTED and node.input[1] in self._chosen:
            self._scale(node, values)
        return _run(self._model, node, values | self._chosen)

    def _draw(self, node: Any, place: int, shape: tuple[int, ...]) -> Array:
        if node.op_type in WEIGHTED and place == 1:
            fan_in = shape[0] if _is_transposed(node) else int(np.prod(shape[1:]))
            found = self._rng.normal(size=shape) * np.sqrt(2 / fan_in)
        elif node.op_type.endswith("Normalization"):
            found = np.full(shape, 1.0 if place in (1, 4) else 0.0)
        else:
            found = self._rng.normal(size=shape) * BIAS
        return np.asarray(found, np.float32)

    def _normalize(self, node: Any, x: Array) -> None:
        axes = (0, *range(2, x.ndim))
        _, _, _, mean, variance = node.input
        if mean in self._chosen and variance in self._chosen:
            self._chosen[mean] = x.mean(axes)
            self._chosen[variance] = np.maximum(x.var(axes), max(x.var() * 0.1, SMALLEST_VARIANCE))

    def _scale(self, node: Any, values: dict[str, Array]) -> None:
        bias = {
            name: np.zeros(self.shapes[name], np.float32) for name in node.input[2:] if name in self.shapes
        }
        deviation = float(_run(self._model, node, values | self._chosen | bias)[0].std())
        if deviation > 0:
            self._chosen[node.input[1]] /= np.float32(deviation)

    def store(self) -> None:
        """Put the weights into the model, in place of the nodes."""
        from onnx import numpy_helper

        graph = self._model.graph
        for node in self._nodes:
            graph.node.remove(node)
        used = {name for node in graph.node for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in self._chosen.items())


def _is_weight(node: Any) -> bool:
    from onnx import TensorProto

    if node.op_type != "ConstantOfShape" or not node.name.startswith("weight_"):
        return False
    return any(a.name == "value" and a.t.data_type == TensorProto.FLOAT for a in node.attribute)


def _is_transposed(node: Any) -> bool:
    """Return whether the weight has its inputs first: MatMul, and Gemm without transB."""
    if node.op_type == "Conv":
        return False
    return not any(a.name == "transB" and a.i for a in node.attribute)


def _run(model: Any, node: Any, values: dict[str, Array]) -> list[Array]:
    """Run one node in onnxruntime."""
    import onnxruntime as ort
    from onnx import helper

    fed = {name: values[name] for name in node.input if name}
    graph = helper.make_graph([node], "node", list(_ports(fed)), [_port(n) for n in node.output if n])
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = ort.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, fed))


def _ports(fed: dict[str, Array]) -> Iterator[Any]:
    from onnx import helper

    for name, array in fed.items():
        yield helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def _port(name: str) -> Any:
    from onnx import ValueInfoProto

    return ValueInfoProto(name=name)
