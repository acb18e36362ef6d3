"""A large model as onnxruntime runs it: with the weights restored that it restores as it loads.

onnxruntime folds constants step by step, and holds the results of every step of every weight: 2 to 3 times
the weights as floats. Here they are restored one by one, by onnxruntime, and written beside the model. What
is run in the end is the same graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.constants import constant_values, is_constant_node
from onnx_pare.graph import wire
from onnx_pare.graph.edit import Names, add_tensor, drop_unused, inputs_used
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_apart
from onnx_pare.graph.session import Session

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir

# onnxruntime restores these in every run
_NEVER_FOLDED = "DequantizeLinear"


@dataclass(frozen=True)
class _Steps:
    """How a constant is made of stored tensors: one model, without inputs.

    Attributes:
        nodes: In order.
        tensors: What they read, by name.
        output: The constant.
        opsets: Versions by domain.
        ir_version: That of the model.
    """

    nodes: tuple[onnx.NodeProto, ...]
    tensors: dict[str, ir.TensorProtocol]
    output: str
    opsets: dict[str, int]
    ir_version: int

    def compute(self) -> np.ndarray[Any, Any]:
        """Return the constant."""
        with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
            path = Path(folder) / "restored.onnx"
            path.write_bytes(self._model().SerializeToString())
            array: np.ndarray[Any, Any] = Session(path, optimize=False).run({})[0]
        return array

    def _model(self) -> onnx.ModelProto:
        import onnx_ir as ir
        from onnx import helper

        held = [ir.to_proto(tensor) for tensor in self.tensors.values()]
        for proto, name in zip(held, self.tensors, strict=True):
            proto.name = name
        output = helper.make_empty_tensor_value_info(self.output)
        graph = helper.make_graph(list(self.nodes), "restored", [], [output], held)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)


def restored(path: Path, folder: Path) -> Path:
    """Return a file of the model at `path` in which no weight is made in several steps as it loads.

    That is itself, or a copy in a new folder in `folder`, its weights beside it. Functions and subgraphs are
    left as they are, and so is what onnxruntime does not fold.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    model = load_model(path)
    made = [] if model.functions else list(_made(model))
    if not made:
        return path
    names = Names(model)
    for value, steps in made:
        stored = add_tensor(model.graph, _tensor(steps, names.new(f"{value.name}_restored")))
        value.replace_all_uses_with(stored)
        drop_unused(model.graph, [value])
    copy = Path(tempfile.mkdtemp(prefix="restored-", dir=folder)) / path.name
    write_apart(model, copy)
    return copy


def _tensor(steps: _Steps, name: str) -> ir.LazyTensor:
    """Return the constant as a tensor that is computed when it is looked at."""
    import onnx_ir as ir

    array = steps.compute()
    dtype, shape = ir.DataType.from_numpy(array.dtype), ir.Shape(array.shape)
    return ir.LazyTensor(lambda: ir.tensor(steps.compute(), name=name), dtype, shape, name=name)


def _made(model: ir.Model) -> Iterator[tuple[ir.Value, _Steps]]:
    """Yield the large weights that are made in two steps or more, and how."""
    constants = constant_values(model)
    found: set[ir.Value] = set()
    for node in model.graph:
        if is_constant_node(node, constants):
            continue
        for value in inputs_used(node):
            if value.producer() is not None and value.name in constants and value not in found:
                found.add(value)
                steps = _steps(model, value)
                if steps is not None:
                    yield value, steps


def _steps(model: ir.Model, value: ir.Value) -> _Steps | None:
    """Return how a constant is made; None if it is small, made in one step, or not folded."""
    import onnx_ir as ir

    nodes: dict[ir.Node, None] = {}
    tensors: dict[str, ir.TensorProtocol] = {}
    waiting = [value]
    while waiting:
        each = waiting.pop()
        tensor, maker = ir.convenience.get_const_tensor(each), each.producer()
        if tensor is not None:
            tensors[each.name or ""] = tensor
        elif maker is None or maker.op_type == _NEVER_FOLDED:
            return None
        else:
            nodes[maker] = None
            waiting += inputs_used(maker)
    if len(nodes) < 2 or sum(tensor.nbytes for tensor in tensors.values()) < wire.STREAMED_BYTES:
        return None
    ordered = [node for node in model.graph if node in nodes]
    opsets = dict(model.graph.opset_imports or model.opset_imports)
    protos = tuple(ir.to_proto(node) for node in ordered)
    return _Steps(protos, tensors, value.name or "", opsets, model.ir_version or 8)
