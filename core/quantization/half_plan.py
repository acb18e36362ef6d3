"""Choosing the nodes that compute in half precision, so that no number breaks and few casts are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.half_slots import Slots, half_slots

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

LARGEST = 65504.0
# below it halves lose digits one by one
SMALLEST_NORMAL = 2.0**-14
# how well a weight must survive: plain rounding to 11 bits leaves about 70 dB
WEIGHT_SQNR_DB = 40.0
# elements of a weight looked at in one go, whatever its size
_BLOCK = 1 << 20
# what half precision is for: matrix products
HEAVY = frozenset(
    {"Conv", "ConvTranspose", "DeformConv", "Gemm", "MatMul", "Einsum", "Attention", "LSTM", "GRU", "RNN"}
)
# their results are positions and sizes, exact in half only up to 2048
_POSITIONS = frozenset({"Shape", "Size", "NonZero", "ArgMax", "ArgMin", "TopK", "Range", "NonMaxSuppression"})


@dataclass
class Plan:
    """Which nodes turn half, and why the others do not.

    Attributes:
        slots: What turns half with each chosen node.
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
            found.update(dict.fromkeys(_slot_values(node, slots)))
        return list(found)

    def activations(self) -> list[ir.Value]:
        """Return those of `values` that are no constants."""
        return [value for value in self.values() if constant(value) is None]


def capable(
    model: ir.Model, floats: set[str], skipped: set[ir.Node], refused: frozenset[str] = frozenset()
) -> Plan:
    """Return a plan with every node that may compute in half by its schema, its place and its weights.

    Args:
        model: The model.
        floats: Names of its float32 tensors.
        skipped: Nodes the user leaves alone.
        refused: Operators that the runtime refuses in half.
    """
    version = model.graph.opset_imports.get("", model.opset_imports.get("", 0))
    plan = Plan({})
    for node in model.graph:
        if not any(value.name in floats for value in (*node.inputs, *node.outputs) if value is not None):
            continue
        slots = None if node.op_type in refused else half_slots(node, version, floats)
        if slots is not None:
            plan.slots[node] = slots
        elif node.op_type != "Constant":
            plan.reasons[f"operator {node.op_type}"] += 1
    plan.drop([node for node in plan.slots if node in skipped], "skip")
    plan.drop([node for node in _position_nodes(model, floats) if node in plan.slots], "computes positions")
    plan.drop(
        [node for node, slots in plan.slots.items() if _loses_weights(node, slots)], "weights do not fit"
    )
    return plan


def fit(plan: Plan, largest: Mapping[str, float], margin: float) -> None:
    """Drop nodes whose activations do not fit into half, and those that are not worth their casts.

    Args:
        plan: What `capable` returned.
        largest: Largest magnitude seen of each activation, by name.
        margin: How much larger than seen an activation may be in use.
    """
    too_large, too_small = [], []
    for node, slots in plan.slots.items():
        seen = [largest.get(value.name or "", 0.0) for value in _slot_values(node, slots)]
        if any(peak * margin > LARGEST for peak in seen):
            too_large.append(node)
        elif any(0 < peak < SMALLEST_NORMAL for peak in seen):
            too_small.append(node)
    plan.drop(too_large, "activations too large")
    plan.drop(too_small, "activations too small")
    _drop_light_regions(plan)
    _drop_costly(plan)


def _slot_values(node: ir.Node, slots: Slots) -> list[ir.Value]:
    inputs = [node.inputs[index] for index in sorted(slots.inputs)]
    outputs = [node.outputs[index] for index in sorted(slots.outputs)]
    return [value for value in (*inputs, *outputs) if value is not None]


def _loses_weights(node: ir.Node, slots: Slots) -> bool:
    arrays = (constant(node.inputs[index]) for index in slots.inputs)
    return any(array is not None and not fits(array) for array in arrays)


def fits(array: np.ndarray[Any, Any]) -> bool:
    """Return whether a float32 weight survives in half: no overflow, and rounding noise 40 dB below it."""
    import numpy as np

    power = noise = 0.0
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        if not np.abs(block).max() <= LARGEST:  # NaN compares false
            return False
        power += float(np.square(block).sum())
        noise += float(np.square(block.astype(np.float16) - block).sum())
    return noise <= power * 10 ** (-WEIGHT_SQNR_DB / 10)


def _position_nodes(model: ir.Model, floats: set[str]) -> set[ir.Node]:
    """Return the nodes that compute with positions or sizes alone, followed from Shape and its like.

    Casts of integer inputs of the model (of 32 and 64 bits: token positions) count as well; a node that also
    reads other float32 data does not, and neither does anything behind a matrix product.
    """
    import onnx_ir as ir

    wide = (ir.DataType.INT32, ir.DataType.INT64)
    marked = {value for value in model.graph.inputs if value.dtype in wide}
    found: set[ir.Node] = set()
    for node in model.graph:
        if node.op_type in HEAVY:
            continue
        read = [value for value in node.inputs if value is not None and constant(value) is None]
        data = [value for value in read if value.name in floats]
        picks = node.op_type.startswith("Gather") and not data  # rows of a table, by position
        if node.op_type in _POSITIONS or (
            read and not picks and all(value in marked for value in data or read)
        ):
            marked.update(node.outputs)
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
    for value in _slot_values(node, plan.slots[node]):
        producer = value.producer()
        if producer in plan.slots:
            yield producer
        yield from (use.node for use in value.uses() if use.node in plan.slots)


def _drop_costly(plan: Plan) -> None:
    """Drop light nodes one by one as long as each saves a cast."""
    dropped = True
    while dropped:
        dropped = False
        for node in [node for node in plan.slots if node.op_type not in HEAVY]:
            slots = plan.slots.pop(node)
            values = dict.fromkeys(_slot_values(node, slots))
            without = sum(casts(value, plan) for value in values)
            plan.slots[node] = slots
            if without < sum(casts(value, plan) for value in values):
                plan.drop([node], "saves a cast")
                dropped = True


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
