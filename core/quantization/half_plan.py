"""Choosing the nodes that compute in half precision, so that no number breaks and few casts are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.half_cut import costly_nodes
from onnx_pare.quantization.half_numbers import fits_at
from onnx_pare.quantization.half_probes import OLDEST_OPSET
from onnx_pare.quantization.half_ranges import Ranges, needs_tiny, never_ran, too_large, too_small
from onnx_pare.quantization.half_slots import Slots, half_slots, is_retyped

if TYPE_CHECKING:
    import onnx_ir as ir

# what half precision is for: matrix products
HEAVY = frozenset(
    {"Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "Attention", "LSTM", "GRU", "RNN"}
)
# their results are positions and sizes, exact in half only up to 2048
_POSITIONS = frozenset({"Shape", "Size", "NonZero", "ArgMax", "ArgMin", "TopK", "Range", "NonMaxSuppression"})
# they only look at the shape of what they read: any type will do
_MEASURES = frozenset({"Shape", "Size"})


@dataclass
class Plan:
    """Which nodes turn half, and why the others do not.

    Attributes:
        slots: What turns half with each chosen node, those inside If, Loop and Scan among them.
        reasons: Why float32 nodes stay so: counts by reason.
    """

    slots: dict[ir.Node, Slots]
    reasons: Counter[str] = field(default_factory=Counter)

    def drop(self, nodes: Iterable[ir.Node], reason: str) -> None:
        """Leave nodes in float32."""
        for node in list(nodes):
            del self.slots[node]
            self.reasons[reason] += 1

    def values(self) -> list[ir.Value]:
        """Return the values that are half somewhere, in graph order."""
        found: dict[ir.Value, None] = {}
        for node, slots in self.slots.items():
            found.update(dict.fromkeys(slots.of(node)))
        return list(found)

    def activations(self) -> list[ir.Value]:
        """Return those of `values` that are no constants."""
        return [value for value in self.values() if constant(value) is None]


def capable(
    model: ir.Model, floats: set[str], skipped: set[str], refused: frozenset[str] = frozenset()
) -> Plan:
    """Return a plan with every node that may compute in half by its schema, its place and its weights.

    Args:
        model: The model, its functions inlined and its names unique across subgraphs.
        floats: Names of its float32 tensors.
        skipped: Names of the nodes the user leaves alone.
        refused: Operators, and names of nodes, that the runtime refuses in half.
    """
    version = model.graph.opset_imports.get("", model.opset_imports.get("", 0))
    plan = Plan({})
    for node in model.graph.all_nodes():
        if not any(value.name in floats for value in (*node.inputs, *node.outputs) if value is not None):
            continue
        slots = None if node.op_type in refused else half_slots(node, version, floats)
        if slots is not None:
            plan.slots[node] = slots
        elif node.op_type != "Constant":
            plan.reasons[f"operator {node.op_type}"] += 1
    if version < OLDEST_OPSET:
        inside = [node for node in plan.slots if node.graph is not model.graph]
        plan.drop(inside, f"in a subgraph, opset below {OLDEST_OPSET}")
    plan.drop([node for node in plan.slots if node.name in skipped], "skip")
    plan.drop([node for node in plan.slots if node.name in refused], "refused by onnxruntime")
    plan.drop([node for node in _position_nodes(model, floats) if node in plan.slots], "computes positions")
    plan.drop(
        [node for node, slots in plan.slots.items() if _loses_weights(node, slots)], "weights do not fit"
    )
    return plan


def fit(plan: Plan, ranges: Ranges, margin: float) -> None:
    """Drop nodes whose activations do not fit into half, and those that are not worth their casts.

    Args:
        plan: What `capable` returned.
        ranges: What was seen of each activation.
        margin: How much larger than seen an activation may be in use.
    """
    plan.drop(
        [n for n, slots in plan.slots.items() if never_ran(n, slots, ranges)], "never ran on the samples"
    )
    plan.drop(
        [n for n, slots in plan.slots.items() if too_large(n, slots, ranges, margin)], "activations too large"
    )
    plan.drop(needs_tiny(plan, ranges), "needs tiny values")
    plan.drop([n for n, slots in plan.slots.items() if too_small(n, slots, ranges)], "activations too small")
    count = -1
    while count != len(plan.slots):
        count = len(plan.slots)
        _drop_light_regions(plan)
        plan.drop(costly_nodes(plan, HEAVY), "saves casts")


def _loses_weights(node: ir.Node, slots: Slots) -> bool:
    arrays = ((index, constant(node.inputs[index])) for index in slots.inputs)
    return any(array is not None and not fits_at(node, index, array) for index, array in arrays)


def _position_nodes(model: ir.Model, floats: set[str]) -> set[ir.Node]:
    """Return the nodes that compute with positions or sizes alone, followed from Shape and its like.

    Casts of integer inputs of the model (of 32 and 64 bits: token positions) count as well; a node that also
    reads other float32 data does not, and neither does anything behind a matrix product.
    """
    import onnx_ir as ir

    wide = (ir.DataType.INT32, ir.DataType.INT64)
    marked = {value for graph in model.graphs() for value in graph.inputs if value.dtype in wide}
    found: set[ir.Node] = set()
    for node in model.graph.all_nodes():
        if node.op_type in HEAVY or is_retyped(node):
            continue
        read = [value for value in node.inputs if value is not None and constant(value) is None]
        data = [value for value in read if value.name in floats]
        # rows of a table by position, a constant spread over a shape
        table = any(value is not None and value.name in floats for value in node.inputs)
        picks = not data and (table or node.op_type.startswith("Gather"))
        if node.op_type in _POSITIONS or (
            read and not picks and all(value in marked for value in data or read)
        ):
            marked.update(node.outputs)
            if node.op_type not in _MEASURES:
                found.add(node)
    return found


def _drop_light_regions(plan: Plan) -> None:
    """Leave connected regions without a matrix product in float32: they would gain nothing but casts."""
    seen: set[ir.Node] = set()
    light: list[ir.Node] = []
    for start in plan.slots:
        if start in seen:
            continue
        region, stack = [], [start]
        seen.add(start)
        while stack:
            node = stack.pop()
            region.append(node)
            for neighbour in _neighbours(node, plan):
                if neighbour not in seen:
                    seen.add(neighbour)
                    stack.append(neighbour)
        if not any(node.op_type in HEAVY for node in region):
            light += region
    plan.drop(light, "no matrix product near")


def _neighbours(node: ir.Node, plan: Plan) -> Iterable[ir.Node]:
    for value in plan.slots[node].of(node):
        producer = value.producer()
        if producer in plan.slots:
            yield producer
        yield from (use.node for use in value.uses() if use.node in plan.slots)


def casts(value: ir.Value, plan: Plan) -> int:
    """Return how many Cast nodes the value needs: at most one."""
    if constant(value) is not None:
        return 0
    if is_half(value, plan):
        return int(bool(float_uses(value, plan)) or value.is_graph_output())
    return int(len(float_uses(value, plan)) < len(value.uses()))


def is_half(value: ir.Value, plan: Plan) -> bool:
    """Return whether a node of the plan makes the value, as a half."""
    node, index = value.producer(), value.index()
    return node is not None and node in plan.slots and index in plan.slots[node].outputs


def float_uses(value: ir.Value, plan: Plan) -> list[tuple[ir.Node, int]]:
    """Return the uses that read the value as float32; those inside subgraphs are among them."""
    return [
        (use.node, use.idx)
        for use in value.uses()
        if use.node not in plan.slots or use.idx not in plan.slots[use.node].inputs
    ]
