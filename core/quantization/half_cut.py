"""Fewest casts: the border between float32 and half, found as a minimum cut.

A value whose producer is on one side and any of whose readers is on the other needs one Cast, a light node on
the float32 side loses what half would have gained it. With the source of a flow on the half side, a value is
an arc of the price of a Cast behind which arcs without limit lead to its readers, and another one for the way
back; the minimum cut (Ford and Fulkerson, Canadian J. of Mathematics 8, 1956) is the cheapest border. The
maximum flow is found by blocking flows (Dinic, Soviet Math. Doklady 11, 1970).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.quantization.half_plan import Plan

# per element: a Cast moves 6 bytes, an operator in half saves 4 of 8
CAST_PRICE, NODE_GAIN = 3, 2
_NO_LIMIT = 1 << 40


def costly_nodes(plan: Plan, heavy: frozenset[str]) -> list[ir.Node]:
    """Return the nodes of the plan that had better stay float32, those of the operators `heavy` never."""
    net = _Net()
    for node, slots in plan.slots.items():
        net.add("half", node, _NO_LIMIT if node.op_type in heavy else NODE_GAIN * bool(slots.outputs))
    for value in plan.activations():
        producer = value.producer()
        made = producer is not None and value.index() in _outputs(plan, producer)
        uses = [(use.node, use.idx) for use in value.uses()]
        half = {node for node, index in uses if node in plan.slots and index in plan.slots[node].inputs}
        outside = value.is_graph_output() or any(
            node not in half or index not in plan.slots[node].inputs for node, index in uses
        )
        readers: list[Hashable] = [*half, *(["float"] if outside else [])]
        net.value(value, producer if made else "float", readers)
    kept_float = net.sink_side("half", "float")
    return [node for node in plan.slots if node in kept_float]


def _outputs(plan: Plan, node: ir.Node) -> frozenset[int]:
    return plan.slots[node].outputs if node in plan.slots else frozenset()


class _Net:
    """A flow network: rest[a][b] is what can still flow from a to b."""

    def __init__(self) -> None:
        self.rest: dict[Hashable, dict[Hashable, int]] = {"half": {}, "float": {}}

    def add(self, a: Hashable, b: Hashable, capacity: int) -> None:
        there, back = self.rest.setdefault(a, {}), self.rest.setdefault(b, {})
        there[b] = there.get(b, 0) + capacity
        back.setdefault(a, 0)

    def value(self, value: Hashable, producer: Hashable, readers: Iterable[Hashable]) -> None:
        """Add what a Cast of the value costs: at most one, whoever needs it."""
        for reader in readers:
            if reader == producer:
                continue
            if producer != "float":
                self.add((value, "to float"), reader, _NO_LIMIT)
            if reader != "float":
                self.add(reader, (value, "to half"), _NO_LIMIT)
        if (value, "to float") in self.rest:
            self.add(producer, (value, "to float"), CAST_PRICE)
        if (value, "to half") in self.rest:
            self.add((value, "to half"), producer, CAST_PRICE)

    def sink_side(self, source: Hashable, sink: Hashable) -> set[Hashable]:
        """Return the smallest sink side of a minimum cut."""
        while sink in (levels := _levels(source, lambda a: [b for b, c in self.rest[a].items() if c])):
            arcs = {a: iter(self.rest[a]) for a in levels}
            while self._augment(source, sink, levels, arcs):
                pass
        return set(_levels(sink, lambda b: [a for a in self.rest[b] if self.rest[a][b]]))

    def _augment(
        self,
        source: Hashable,
        sink: Hashable,
        levels: Mapping[Hashable, int],
        arcs: dict[Hashable, Iterator[Hashable]],
    ) -> bool:
        """Push flow along one path of rising levels; False if there is none left."""
        path = [source]
        while path[-1] != sink:
            here = path[-1]
            step = next(
                (b for b in arcs[here] if self.rest[here][b] and levels.get(b) == levels[here] + 1), None
            )
            if step is not None:
                path.append(step)
            elif len(path) == 1:
                return False
            else:
                path.pop()
        flow = min(self.rest[a][b] for a, b in itertools.pairwise(path))
        for a, b in itertools.pairwise(path):
            self.rest[a][b] -= flow
            self.rest[b][a] += flow
            # an arc that is not full yet may carry the next path as well
            arcs[a] = iter(self.rest[a])
        return True


def _levels(start: Hashable, following: Callable[[Hashable], Iterable[Hashable]]) -> dict[Hashable, int]:
    """Return the distance from `start` of everything that can be reached from it."""
    levels, row = {start: 0}, [start]
    while row:
        row = [
            b for a in row for b in following(a) if b not in levels and levels.setdefault(b, levels[a] + 1)
        ]
    return levels
