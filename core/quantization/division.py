"""The cheapest division of a graph into integer and float parts, by predicted times.

Every operator that can run in integers has two times, and every tensor whose maker and readers differ costs
one conversion, however many readers there are. The cheapest choice is exactly a minimum cut, since both kinds
of costs are submodular: source = integers, sink = float. For a tensor with maker p and readers c,

    p → a: dequantize,  a → c: uncuttable        (p integer, any c float)
    c → b: uncuttable,  b → p: quantize          (p float, any c integer)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from onnx_pare.quantization import kernels
from onnx_pare.quantization.kernel_costs import KernelCosts, Row
from onnx_pare.quantization.mincut import UNCUTTABLE, Network
from onnx_pare.quantization.placement import Placement, outputs
from onnx_pare.quantization.work import Work, work

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

# float operators that onnxruntime makes part of the convolution before them
FUSED = frozenset({"Add", "HardSigmoid", "HardSwish", "LeakyRelu"})
# onnxruntime moves a QuantizeLinear before the MaxPool it follows, and pools bytes slowly unless an integer
# convolution has laid the channels last: ns per value read, on a CPU with AVX512-VNNI
PLANAR_POOL = Row(0.0, 4.0)
# a time in µs becomes this many units of capacity: ns
UNITS = 1000


@dataclass(frozen=True)
class Division:
    """A predicted placement.

    Attributes:
        float_nodes: Names of the nodes that could run in integers and had better not.
        float_us: Predicted time of all that could run in integers, left float.
        divided_us: Predicted time of the same nodes as divided, conversions included.
        integer_us: The same with all of them in integers.
    """

    float_nodes: frozenset[str]
    float_us: float
    divided_us: float
    integer_us: float


def divide(
    graph: ir.Graph, shapes: Shapes, placement: Placement, costs: KernelCosts, *, border: float = 1.0
) -> Division:
    """Divide the nodes of a placement; `border` multiplies the predicted time of conversions.

    Nodes of unknown shape go with their neighbours: they cost nothing on either side.
    """
    network = _Network(graph, shapes, placement, costs, border)
    cost, integers = network.cut()
    return Division(
        frozenset(node.name or "" for node, number in network.numbers.items() if number not in integers),
        network.float_units / UNITS,
        cost / UNITS,
        _Network(graph, shapes, placement, costs, border, whole=True).cut()[0] / UNITS,
    )


class _Network:
    """The graph as a flow network."""

    def __init__(
        self,
        graph: ir.Graph,
        shapes: Shapes,
        placement: Placement,
        costs: KernelCosts,
        border: float,
        *,
        whole: bool = False,
    ) -> None:
        self.graph, self.shapes, self.costs, self.border = graph, shapes, costs, border
        self.network = Network()
        self.float_units = 0
        self.numbers: dict[ir.Node, int] = {}
        self.makers: dict[ir.Value, ir.Node] = {}
        absorbed: dict[ir.Node, int] = {}
        for node in graph:
            if placement.runs_in_integers(node):
                number = self.numbers[node] = self.network.node()
                for value in outputs(node):
                    self.makers[value] = node
                for inner in _absorbed(node):
                    absorbed[inner] = number
        for number in self.numbers.values() if whole else ():
            self.network.edge(Network.SOURCE, number, UNCUTTABLE)
        self.members = {**absorbed, **self.numbers}
        for node in self.numbers:
            self._times(node)
            if node.op_type == "MaxPool":
                self._planar_pool(node)
        for value in self._tensors():
            self._borders(value)

    def cut(self) -> tuple[int, set[int]]:
        return self.network.cut()

    def _times(self, node: ir.Node) -> None:
        number, size = self.numbers[node], work(node, self.shapes)
        if size is None:
            return
        self.network.edge(number, Network.SINK, _units(self.costs.int8_us(size)))
        float_units = _units(self.costs.float_us(size))
        maker = self._fuses_with(node)
        if maker is None:
            self.float_units += float_units
            self.network.edge(Network.SOURCE, number, float_units)
        else:  # free behind the float maker
            self.network.edge(self.numbers[maker], number, float_units)

    def _fuses_with(self, node: ir.Node) -> ir.Node | None:
        """Return the node that does this one's work too where both are float."""
        read = kernels.data_inputs(node)
        makers = [maker for value in read if (maker := self.makers.get(value)) is not None]
        if node.op_type == "Mul":  # x · Sigmoid(x)
            return next(
                (maker for maker in makers if maker.op_type == "Sigmoid" and maker.inputs[0] in read), None
            )
        return next((maker for maker in makers if node.op_type in FUSED and maker.op_type == "Conv"), None)

    def _planar_pool(self, node: ir.Node) -> None:
        """Charge for a MaxPool of bytes behind a float operator, whichever side of the border it is on."""
        size = work(node, self.shapes)
        maker = next((self.makers.get(value) for value in kernels.data_inputs(node)), None)
        if size is None:
            return
        before = Network.SINK if maker is None else self.numbers[maker]
        readers = {self.numbers[use.node] for use in node.outputs[0].uses() if use.node in self.numbers}
        units = _units(PLANAR_POOL.us(size))
        self._pays_back(before, {self.numbers[node], *readers}, units)

    def _tensors(self) -> list[ir.Value]:
        read = [value for node in self.numbers for value in kernels.data_inputs(node)]
        return list(dict.fromkeys([*self.makers, *read]))

    def _borders(self, value: ir.Value) -> None:
        maker = self.makers.get(value)
        source = Network.SINK if maker is None else self.numbers[maker]
        readers = {self.members.get(use.node, Network.SINK) for use in value.uses()} - {source}
        if value.is_graph_output():
            readers.add(Network.SINK)
        info = self.shapes.get(value.name or "")
        if not readers or info is None:
            return
        size = Work("border", 0, prod(info.shape))
        if maker is not None and (
            maker.op_type not in kernels.ANCHORS or kernels.needs_quantized_output(maker)
        ):
            self._pays(source, readers, self._units(self.costs.dequantize, size))
        self._pays_back(source, readers - {Network.SINK}, self._units(self.costs.quantize, size))

    def _pays(self, source: int, readers: set[int], units: int) -> None:
        middle = self.network.node()
        self.network.edge(source, middle, units)
        for reader in sorted(readers):
            self.network.edge(middle, reader, UNCUTTABLE)

    def _pays_back(self, source: int, readers: set[int], units: int) -> None:
        middle = self.network.node()
        self.network.edge(middle, source, units)
        for reader in sorted(readers):
            self.network.edge(reader, middle, UNCUTTABLE)

    def _units(self, row: Row, size: Work) -> int:
        return _units(row.us(size) * self.border)


def _absorbed(node: ir.Node) -> list[ir.Node]:
    if kernels.is_carrier(node):
        return []
    bias = kernels.absorbed_bias(node)
    activation = kernels.absorbed_activation(bias or node)
    return [inner for inner in (bias, activation) if inner is not None]


def _units(us: float) -> int:
    return round(us * UNITS)
