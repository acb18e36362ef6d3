"""What a model costs: MACs, parameters, bytes, and activation memory, per node and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.call import UncountedError, call, operator
from onnx_pare.cost.constants import constant_values, is_constant_node
from onnx_pare.cost.macs import MACS, Rule
from onnx_pare.cost.memory import VIEWS, activations, attached, subgraphs
from onnx_pare.cost.weights import Weight, Weights, distinct, sparsity
from onnx_pare.cost.zero_macs import ZERO_MACS

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes


@dataclass(frozen=True)
class NodeCost:
    """What one node costs; a node with subgraphs stands for what runs in them.

    Attributes:
        macs: Multiply-accumulates, None if they cannot be counted (`uncounted` says why).
        effective_macs: Those left when all that multiply a zero are skipped.
        params: Elements of the weights it reads.
        weight_bytes: Their bytes as stored; scales and zero points are not included.
        output_shape: Of the first output; None if unknown.
        dtype: Element type of the first output; empty if unknown.
        weight_dtype: Element type its weights are stored in; empty without weights.
        weight_sparsity: Fraction of exact zeros in its weights, 0 to 1, biases aside.
    """

    name: str
    op: str
    macs: int | None
    effective_macs: int | None
    params: int
    weight_bytes: int
    output_shape: tuple[int, ...] | None
    dtype: str
    weight_dtype: str
    weight_sparsity: float
    uncounted: str = ""


@dataclass(frozen=True)
class Uncounted:
    """An operator that could not be counted, how often, and why."""

    op: str
    nodes: int
    reason: str


@dataclass(frozen=True)
class Cost:
    """What a model costs, at the shapes it was counted with.

    Attributes:
        rows: One for each node of the main graph, in order, that is left when constants are folded.
        nodes: All nodes of all graphs, as they stand in the file (functions inlined).
        params, nonzero_params, weight_bytes: Of all weights, each stored tensor once.
        macs, effective_macs: Sums over the counted nodes; what is not counted is in `uncounted`.
        activation_bytes, peak_activation_bytes: See `memory`.
    """

    rows: tuple[NodeCost, ...]
    nodes: int
    params: int
    nonzero_params: int
    weight_bytes: int
    macs: int
    effective_macs: int
    activation_bytes: int
    peak_activation_bytes: int
    uncounted: tuple[Uncounted, ...]

    @property
    def uncounted_ops(self) -> list[str]:
        """Names of the operators that could not be counted."""
        return sorted({entry.op for entry in self.uncounted})

    def totals(self) -> dict[str, Any]:
        """Return the totals under the keys of `pare inspect --json`."""
        return {
            "macs": self.macs,
            "effective_macs": self.effective_macs,
            "flops": 2 * self.macs,
            "params": self.params,
            "nonzero_params": self.nonzero_params,
            "weight_bytes": self.weight_bytes,
            "activation_bytes": self.activation_bytes,
            "peak_activation_bytes": self.peak_activation_bytes,
            "nodes": self.nodes,
        }

    def summary(self, size_bytes: int) -> dict[str, Any]:
        """Return the block `before` or `after` of the report; `size_bytes` is the file's size."""
        return {
            "size_bytes": size_bytes,
            "params": self.params,
            "nonzero_params": self.nonzero_params,
            "macs": self.macs,
            "effective_macs": self.effective_macs,
            "peak_activation_bytes": self.peak_activation_bytes,
            "nodes": self.nodes,
            "uncounted_ops": self.uncounted_ops,
        }


def count(model: ir.Model, shapes: Shapes) -> Cost:
    """Count what a model costs at the shapes that `infer` found. The model is not changed.

    Nodes that depend on no input are folded by runtimes when they load the model: they cost nothing. Of an If
    whose condition is unknown the branch with more MACs counts; the body of a Loop or Scan counts for each
    trip.
    """
    from onnx_pare.graph.flat import flattened

    model = flattened(model)
    constants = constant_values(model)
    counter = _Counter(shapes, constants)
    rows = tuple(counter.rows(model.graph))
    weights = distinct(counter.weights)
    memory = activations(model.graph, shapes, constants)
    return Cost(
        rows=rows,
        nodes=sum(len(graph) for graph in model.graphs()),
        params=sum(weight.params for weight in weights),
        nonzero_params=sum(weight.nonzero for weight in weights),
        weight_bytes=sum(weight.size_bytes for weight in weights),
        macs=sum(row.macs or 0 for row in rows),
        effective_macs=sum(row.effective_macs or 0 for row in rows),
        activation_bytes=memory.total_bytes,
        peak_activation_bytes=memory.peak_bytes,
        uncounted=tuple(
            Uncounted(op, number, why) for (op, why), number in sorted(counter.uncounted.items())
        ),
    )


# operators that hand on the zeros of their input, in another shape or as integers
REARRANGING = VIEWS | {"DequantizeLinear", "QuantizeLinear", "Transpose"}


def file_summary(model: ir.Model, path: Path, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the block `before` or `after` of the report for a model and its file, at these input shapes.

    Raises:
        ModelError: The shapes contradict each other, or onnxruntime cannot load or run the model.
    """
    from onnx_pare.graph.load import size_bytes
    from onnx_pare.graph.shapes import infer

    return count(model, infer(model, inputs)).summary(size_bytes(path))


class _Counter:
    """Counts nodes and collects on the way the weights they read and the operators nobody can count."""

    def __init__(self, shapes: Shapes, constants: frozenset[str]) -> None:
        self._shapes = shapes
        self._constants = constants
        self._lookup = Weights(shapes, constants)
        self.weights: list[Weight] = []
        self.uncounted: Counter[tuple[str, str]] = Counter()

    def rows(self, graph: ir.Graph) -> Iterator[NodeCost]:
        for node in graph:
            if not is_constant_node(node, self._constants):
                yield self._row(node)

    def _row(self, node: ir.Node) -> NodeCost:
        first = len(self.weights)
        self.weights += self._lookup.of(node)
        reason = ""
        macs: int | None
        effective: int | None
        try:
            macs, effective = self._macs(node)
        except UncountedError as error:
            macs = effective = None
            reason = str(error)
            self.uncounted[operator(node), reason] += 1
        weights = distinct(self.weights[first:])
        info = self._shapes.get(node.outputs[0].name or "") if node.outputs else None
        return NodeCost(
            name=node.name or "",
            op=operator(node),
            macs=macs,
            effective_macs=effective,
            params=sum(weight.params for weight in weights),
            weight_bytes=sum(weight.size_bytes for weight in weights),
            output_shape=info.shape if info else None,
            dtype=info.dtype if info else "",
            weight_dtype=max(weights, key=lambda weight: weight.params).dtype if weights else "",
            weight_sparsity=sparsity(weights),
            uncounted=reason,
        )

    def _macs(self, node: ir.Node) -> tuple[int, int]:
        op = operator(node)
        if op in MACS:
            macs = MACS[op].count(call(node, self._shapes))
            return macs, round(macs * self._density(node, MACS[op]))
        if attached(node):
            return self._nested(node)
        if op not in ZERO_MACS:
            raise UncountedError("no counting rule")
        return 0, 0

    def _nested(self, node: ir.Node) -> tuple[int, int]:
        """Count what runs in a node's subgraphs."""
        bodies = [_sum(self.rows(graph)) for graph in subgraphs(node, self._shapes)]
        macs, effective = max(bodies)
        if node.op_type == "If" or macs == 0:
            return macs, effective
        trips = self._shapes.trips.get(next((v.name for v in node.outputs if v.name), ""))
        if trips is None:
            raise UncountedError(f"{macs} MACs a trip, but the number of trips depends on the data")
        return macs * trips, effective * trips

    def _density(self, node: ir.Node, rule: Rule) -> float:
        """Return the fraction of a node's MACs that multiply no zero.

        That is the product of the operands' densities: of the weights as stored, of activations as measured
        and annotated in the model (see `sparsity.metadata`), where they were. Zeros of both are taken to fall
        independently of each other.
        """
        weights = [weight for slot in rule.operands for weight in self._lookup.at(node, slot)]
        params = sum(weight.params for weight in weights)
        density = sum(weight.nonzero for weight in weights) / params if params else 1.0
        for slot in rule.operands:
            if slot < len(node.inputs):  # Einsum may have one operand
                density *= 1 - _zero_fraction(node.inputs[slot])
        return density


def _zero_fraction(value: ir.Value | None) -> float:
    """Return the measured fraction of zeros in an activation; 0 if it was not measured."""
    from onnx_pare.sparsity.metadata import read_zero_fraction

    node = None if value is None else value.producer()
    while node is not None and node.op_type in REARRANGING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return (read_zero_fraction(node) or 0.0) if node is not None else 0.0


def _sum(rows: Iterable[NodeCost]) -> tuple[int, int]:
    counted = [(row.macs or 0, row.effective_macs or 0) for row in rows]
    return sum(macs for macs, _ in counted), sum(effective for _, effective in counted)
