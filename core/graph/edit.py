"""Small edits that every pass needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """Return what a value always holds (an initializer that is no input, or a Constant node), else None.

    The array may be a read-only view of a mapped file.
    """
    import onnx_ir as ir

    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def unique_name(model: ir.Model, base: str) -> str:
    """Return `base`, or `base_1`, `base_2` … : the first that names no value and no node of the model.

    For many names at once use `Names`, which scans the model only once.
    """
    return Names(model).new(base)


class Names:
    """Gives out names that no value or node of a model has."""

    def __init__(self, model: ir.Model) -> None:
        self._taken: set[str] = set()
        for graph in model.graphs():
            self._taken.update(v.name for v in graph.inputs if v.name)
            self._taken.update(graph.initializers)
            for node in graph:
                self._taken.add(node.name or "")
                self._taken.update(v.name for v in node.outputs if v.name)

    def new(self, base: str) -> str:
        """Return `base` or the first free `base_N`, and take it."""
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
    """Register a new initializer; `name` must be free (see `Names`)."""
    import onnx_ir as ir

    return add_tensor(graph, ir.tensor(array, name=name))


def add_tensor(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Register a tensor as a new initializer; its name must be free (see `Names`)."""
    import onnx_ir as ir

    value = ir.Value(
        name=tensor.name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def set_constant(value: ir.Value, array: np.ndarray[Any, Any]) -> None:
    """Give an initializer, or the output of a Constant node, a new content of the same shape.

    Its element type becomes the array's. The type object is new: clones of a model share theirs.
    """
    import onnx_ir as ir

    tensor = ir.tensor(array, name=value.name)
    value.type = ir.TensorType(tensor.dtype)
    node = value.producer()
    if node is None:
        value.const_value = tensor
        return
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", tensor)
    value.const_value = None


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of `old`, and the graph's outputs, take `new` instead, under the name of `old`."""
    import onnx_ir as ir

    new.type, new.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    new.name = old.name


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Return the value's shape if every dimension is a number, else None."""
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return tuple(int(dim) for dim in value.shape if isinstance(dim, int))


def inputs_used(node: ir.Node) -> list[ir.Value]:
    """Return the inputs of a node that are given; optional ones left out are skipped."""
    return [value for value in node.inputs if value is not None]


def drop_unused(graph: ir.Graph, values: Iterable[ir.Value | None]) -> None:
    """Remove those constants of a graph among the values that nothing reads, and what computed them."""
    waiting = [value for value in values if value is not None]
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if producer is None and not value.uses() and (value.name or "") in graph.initializers:
            if not value.is_graph_input() and not value.is_graph_output():
                del graph.initializers[value.name or ""]
        elif producer is not None and producer.graph is graph and not _is_used(producer):
            waiting += inputs_used(producer)
            graph.remove(producer, safe=True)


def _is_used(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)
