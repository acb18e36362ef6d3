"""Which activations half precision can hold, judged by what was seen of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.half_numbers import LARGEST, SMALLEST_NORMAL, SMALLEST_PEAK
from onnx_pare.quantization.half_slots import Slots

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.quantization.half_plan import Plan

# what is added to a larger number need not keep its digits
_ADDS = frozenset({"Add", "Sub", "Sum"})
# what they hold inside is the square of what they give
_SQUARES_INSIDE = frozenset({"ReduceL2", "LpNormalization"})
# places where the digits of small numbers count, and operators that hand them there
_SENSITIVE: Mapping[str, int] = {"Div": 1, "Log": 0, "Reciprocal": 0, "Pow": 0}
_HAND_ON = frozenset(
    {
        *("Add", "Clip", "Max", "Mul", "Pow", "Sqrt", "Abs", "Identity", "Reshape", "Expand", "Unsqueeze"),
        *("Squeeze", "Transpose", "Flatten", "Slice", "Concat", "Split", "ReduceMean", "ReduceSum"),
        *("ReduceSumSquare", "ReduceL2", "ReduceL1", "ReduceMax", "ReduceMin", "Where"),
    }
)
# what a probe gives for "none"
NONE_SEEN = 3e38


@dataclass
class Reach:
    """The largest and the smallest magnitude seen, zeros and what is not finite apart.

    Attributes:
        watch_small: Whether the smallest is wanted; it costs as much again.
        largest: The largest magnitude.
        smallest: The smallest but zero.
        seen: Whether there was anything to see.
    """

    watch_small: bool = True
    largest: float = 0.0
    smallest: float = NONE_SEEN
    seen: bool = False

    def update(self, array: np.ndarray[Any, Any]) -> None:
        """Take in one more activation of the tensor; any shape."""
        if array.size == 0:
            return
        self.seen = True
        largest = max(float(array.max()), -float(array.min()))
        if largest < NONE_SEEN:  # NaN compares false
            self.largest = max(self.largest, largest)
            if not self.watch_small:
                return
        magnitudes = np.abs(array)
        magnitudes = magnitudes[(magnitudes > 0) & (magnitudes < NONE_SEEN)]
        if magnitudes.size:
            self.largest = max(self.largest, float(magnitudes.max()))
            self.smallest = min(self.smallest, float(magnitudes.min()))


@dataclass(frozen=True)
class Ranges:
    """What was seen of the activations, by name; what has no entry passes every test.

    Attributes:
        largest: The largest magnitude.
        smallest: The smallest but zero.
        unseen: Names of those in code that never ran on the samples.
    """

    largest: Mapping[str, float] = field(default_factory=dict)
    smallest: Mapping[str, float] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()

    def peak(self, value: ir.Value) -> float:
        """Return the largest magnitude of a value."""
        return self.largest.get(value.name or "", 0.0)

    def is_tiny(self, value: ir.Value | None) -> bool:
        """Return whether a value has elements that lose digits in half."""
        return value is not None and self.smallest.get(value.name or "", 1.0) < SMALLEST_NORMAL


def too_large(node: ir.Node, slots: Slots, ranges: Ranges, margin: float) -> bool:
    """Return whether the node may overflow, its activations growing by `margin`."""
    peaks = [ranges.peak(value) * margin for value in slots.of(node)]
    if node.op_type in _SQUARES_INSIDE:
        peaks += [(ranges.peak(value) * margin) ** 2 for value in node.outputs]
    return any(peak > LARGEST for peak in peaks)


def too_small(node: ir.Node, slots: Slots, ranges: Ranges) -> bool:
    """Return whether the node reads or makes a tensor all of which keeps fewer than 7 bits, and that counts.

    It does not where the tensor is only added to a larger one.
    """
    read = [node.inputs[index] for index in slots.inputs if not _adds_to_more(node, ranges)]
    made = [node.outputs[index] for index in slots.outputs]
    return any(value is not None and 0 < ranges.peak(value) < SMALLEST_PEAK for value in read) or any(
        0 < ranges.peak(value) < SMALLEST_PEAK and not _vanishes(value, ranges) for value in made
    )


def _adds_to_more(node: ir.Node, ranges: Ranges) -> bool:
    return node.op_type in _ADDS and ranges.peak(node.outputs[0]) >= SMALLEST_NORMAL


def _vanishes(value: ir.Value, ranges: Ranges) -> bool:
    readers = value.consumers()
    return (
        bool(readers) and not value.is_graph_output() and all(_adds_to_more(node, ranges) for node in readers)
    )


def never_ran(node: ir.Node, slots: Slots, ranges: Ranges) -> bool:
    """Return whether nothing is known of an activation of the node: a branch that no sample took."""
    return any(value.name in ranges.unseen for value in slots.of(node))


def needs_tiny(plan: Plan, ranges: Ranges) -> list[ir.Node]:
    """Return the nodes that divide by, or take the logarithm of, numbers below 2^-14, and what makes those.

    They would be rounded by several percent, or to zero: the island reaches up to where they come from.
    """
    return [node for node in _sensitive_chains(plan, ranges.is_tiny) if node in plan.slots]


def small_matters(plan: Plan) -> set[str]:
    """Return the names of the values whose smallest magnitudes `needs_tiny` looks at."""
    chains = _sensitive_chains(plan, lambda value: value is not None)
    return {
        value.name or "" for node in chains for value in (*node.inputs, *node.outputs) if value is not None
    }


def _sensitive_chains(plan: Plan, is_tiny: Callable[[ir.Value | None], bool]) -> dict[ir.Node, None]:
    found: dict[ir.Node, None] = {}
    for node in plan.slots:
        place = _SENSITIVE.get(node.op_type)
        value = None if place is None else node.inputs[place]
        if place in plan.slots[node].inputs and is_tiny(value) and _is_sensitive(node):
            found[node] = None
            _add_makers(value, found, is_tiny)
    return found


def _is_sensitive(node: ir.Node) -> bool:
    if node.op_type != "Pow":
        return True
    exponent = constant(node.inputs[1])
    return exponent is None or bool((exponent < 0).any())


def _add_makers(
    value: ir.Value | None, found: dict[ir.Node, None], is_tiny: Callable[[ir.Value | None], bool]
) -> None:
    stack = [value]
    while stack:
        here = stack.pop()
        node = None if here is None else here.producer()
        if node is None or node in found or node.op_type not in _HAND_ON or not is_tiny(here):
            continue
        found[node] = None
        stack += node.inputs


def seen(reaches: Mapping[str, Reach]) -> Ranges:
    """Return what observers saw."""
    return Ranges(
        {name: reach.largest for name, reach in reaches.items()},
        {name: reach.smallest for name, reach in reaches.items()},
        frozenset(name for name, reach in reaches.items() if not reach.seen),
    )
