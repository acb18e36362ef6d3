"""Layers that can be fitted to outputs: y = W·x + b, x a row of a matrix or the patch under a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import Names, add_initializer, constant, set_constant
from onnx_pare.sparsity.prunable import Weight

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

FITTED = ("Conv", "Gemm", "MatMul")
# the square of the inputs is what fitting holds in memory
MOST_INPUTS = 8192


@dataclass(frozen=True)
class Linear:
    """A layer of the main graph.

    Attributes:
        weight: Its weight, which no other layer reads.
        window: Where it looks.
        adder: The node that adds the bias, and at which of its inputs: itself, the Add behind a MatMul, or
            None where none can be added.
    """

    weight: Weight
    window: Window
    adder: tuple[ir.Node, int] | None

    @property
    def node(self) -> ir.Node:
        """The node that multiplies."""
        return self.weight.nodes[0]

    @property
    def input(self) -> ir.Value:
        """What it multiplies with the weight."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def output(self) -> ir.Value:
        """What it makes."""
        return self.node.outputs[0]

    @property
    def positions(self) -> int:
        """Kernel positions: inputs are in the order of channel, then position."""
        return self.window.positions

    def rows(self, array: Array | None = None) -> Array:
        """Return the weight, or an array of its shape, as (groups, outputs, inputs)."""
        matrix = self.weight.to_matrix(self.weight.read() if array is None else array)
        return matrix.reshape(self.window.groups, -1, matrix.shape[1])

    def prior(self) -> Array:
        """Return what inputs are multiplied with, as rows in float64; the factor alpha of Gemm is in it."""
        return self.rows().astype("float64") * self._alpha()

    def _alpha(self) -> float:
        return float(self.node.attributes.get_float("alpha", 1.0))

    def from_rows(self, rows: Array) -> Array:
        """Return such rows in the weight's shape."""
        return self.weight.from_matrix(rows.reshape(-1, rows.shape[2]), self.weight.read().shape)

    def write(self, rows: Array, bias: Array, names: Names) -> None:
        """Give the layer new weights and, where it can have one, a new bias.

        Args:
            rows: Shape (groups, outputs, inputs), as `prior`.
            bias: Shape (groups, outputs).
            names: Where to take the name of a new bias from.
        """
        dtype = self.weight.read().dtype
        set_constant(self.weight.value, self.from_rows(rows / self._alpha()).astype(dtype))
        if self.adder is not None:
            _write_bias(*self.adder, bias.reshape(-1).astype(dtype), self.node is self.adder[0], names)

    def residual(self) -> ir.Value | None:
        """Return what is added to the output, by an Add that alone reads it, else None."""
        output = self.output
        if self.adder is not None and self.adder[0] is not self.node:
            output = self.adder[0].outputs[0]
        add = _only_reader(output)
        if add is None or add.op_type != "Add" or add.domain != "":
            return None
        others = [value for value in add.inputs if value is not output]
        if len(others) != 1 or others[0] is None or constant(others[0]) is not None:
            return None
        return others[0]


def linear(weight: Weight, graph: ir.Graph) -> Linear | str:
    """Return the layer that has a weight, or why it cannot be fitted."""
    node = weight.nodes[0]
    shape = weight.read().shape
    for hindrance, holds in (
        ("several nodes share its weights", len(weight.nodes) > 1),
        (f"{node.op_type} is not fitted", node.op_type not in FITTED),
        ("it is inside of a subgraph", node.graph is not graph),
        (
            "its weights are the left factor",
            node.inputs[-1 if len(node.inputs) < 2 else 1] is not weight.value,
        ),
        ("its input is transposed", bool(node.attributes.get_int("transA", 0))),
        ("its weights are no matrix", node.op_type != "Conv" and len(shape) != 2),
        ("its bias is computed", node.op_type != "MatMul" and _has_computed_bias(node)),
    ):
        if holds:
            return hindrance
    layer = Linear(weight, Window.of(node, shape), _adder(node, shape[1] if len(shape) == 2 else shape[0]))
    inputs = layer.rows().shape[2]
    if inputs > MOST_INPUTS:
        return f"it has {inputs} inputs, more than {MOST_INPUTS}"
    return layer


def _has_computed_bias(node: ir.Node) -> bool:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    return given is not None and constant(given) is None


def _adder(node: ir.Node, outputs: int) -> tuple[ir.Node, int] | None:
    """Return which input of which node is the bias."""
    if node.op_type != "MatMul":
        return node, 2
    add = _only_reader(node.outputs[0])
    if add is None or add.op_type != "Add" or add.domain != "":
        return None
    for index, value in enumerate(add.inputs):
        array = constant(value)
        if array is not None and array.shape and array.size == array.shape[-1] == outputs:
            return add, index
    return None


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    (use,) = uses
    node = use.node
    return node if node.graph is value.graph else None


def _write_bias(node: ir.Node, index: int, bias: Array, whole: bool, names: Names) -> None:
    """Replace a bias by another one, or add to it where the outputs that were fitted come before it."""
    given = node.inputs[index] if len(node.inputs) > index else None
    old = constant(given)
    if not whole and old is not None:
        bias = (old.reshape(-1) + bias).astype(bias.dtype)
    node.attributes.pop("beta", None)
    if given is not None and old is not None and old.size == bias.size and len(given.uses()) == 1:
        set_constant(given, bias.reshape(old.shape))
        return
    graph = node.graph
    assert graph is not None
    value = add_initializer(graph, names.new(f"{node.outputs[0].name}_bias"), bias)
    node.resize_inputs(max(index + 1, len(node.inputs)))
    node.replace_input_with(index, value)
    if given is not None and given.is_initializer() and not given.uses() and not given.is_graph_output():
        graph.initializers.pop(given.name or "")
