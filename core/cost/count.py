"""What a model costs: MACs, parameters, bytes, and activation memory, per node and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.cost.call import UncountedError, call, operator
from onnx_pare.cost.constants import constant_values, is_constant_node
from onnx_pare.cost.effective import Macs, input_zero_fraction, left
from onnx_pare.cost.macs import MACS
from onnx_pare.cost.memory import activations, attached, subgraphs
from onnx_pare.cost.traffic import Traffic
from onnx_pare.cost.uncountable import UNCOUNTABLE
from onnx_pare.cost.weights import Weight, Weights, distinct, sparsity
from onnx_pare.cost.zero_macs import ZERO_MACS
from onnx_pare.sparsity.metadata import read_negatives, read_zeros

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes
    from onnx_pare.sparsity.share import Share, Zeros


@dataclass(frozen=True)
class NodeCost:
    """What one node costs; a node with subgraphs stands for what runs in them.

    Attributes:
        work: Multiply-accumulates, None if they cannot be counted (`uncounted` says why).
        params: Elements of the weights it reads.
        weight_bytes: Their bytes as stored; scales and zero points are not included.
        read_bytes, written_bytes: Those of the activations it takes and makes, as stored (see `traffic`).
        output_shape: Of the first output; None if unknown.
        dtype: Element type of the first output; empty if unknown.
        weight_dtype: Element type its weights are stored in; empty without weights.
        weight_sparsity: Fraction of exact zeros in its weights, 0 to 1, biases aside.
        input_zero_fraction: Fraction of zeros in the activation it multiplies; None if not measured.
        zeros: What was measured of its output; `negatives` if its output only bends below zero.
    """

    name: str
    op: str
    work: Macs | None
    params: int
    weight_bytes: int
    read_bytes: int
    written_bytes: int
    output_shape: tuple[int, ...] | None
    dtype: str
    weight_dtype: str
    weight_sparsity: float
    uncounted: str = ""
    input_zero_fraction: float | None = None
    zeros: Zeros | None = None
    negatives: Share | None = None

    @property
    def macs(self) -> int | None:
        """All multiply-accumulates, None if they cannot be counted."""
        return self.work.total if self.work else None

    @property
    def effective_macs(self) -> int | None:
        """Those left when all that multiply a zero are skipped."""
        return self.work.effective if self.work else None


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
        work: Sums over the counted nodes; what is not counted is in `uncounted`.
        activation_bytes, peak_activation_bytes: See `memory`.
    """

    rows: tuple[NodeCost, ...]
    nodes: int
    params: int
    nonzero_params: int
    weight_bytes: int
    work: Macs
    activation_bytes: int
    peak_activation_bytes: int
    uncounted: tuple[Uncounted, ...]

    @property
    def macs(self) -> int:
        """All multiply-accumulates that were counted."""
        return self.work.total

    @property
    def effective_macs(self) -> int:
        """Those left when all that multiply a zero are skipped."""
        return self.work.effective

    @property
    def uncounted_ops(self) -> list[str]:
        """Names of the operators that could not be counted."""
        return sorted({entry.op for entry in self.uncounted})

    def totals(self) -> dict[str, Any]:
        """Return the totals under the keys of `pare inspect --json`."""
        return {
            **self.work.facts(),
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
        work=_sum(rows),
        activation_bytes=memory.total_bytes,
        peak_activation_bytes=memory.peak_bytes,
        uncounted=tuple(
            Uncounted(op, number, why) for (op, why), number in sorted(counter.uncounted.items())
        ),
    )


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
        nodes = [node for node in graph if not is_constant_node(node, self._constants)]
        traffic = Traffic(nodes, self._shapes, self._constants)
        for node in nodes:
            yield self._row(node, *traffic.of(node))

    def _row(self, node: ir.Node, read_bytes: int, written_bytes: int) -> NodeCost:
        first = len(self.weights)
        self.weights += self._lookup.of(node)
        reason = ""
        work: Macs | None = None
        try:
            work = self._work(node)
        except UncountedError as error:
            reason = str(error)
            self.uncounted[operator(node), reason] += 1
        weights = distinct(self.weights[first:])
        info = self._shapes.get(node.outputs[0].name or "") if node.outputs else None
        return NodeCost(
            name=node.name or "",
            op=operator(node),
            work=work,
            params=sum(weight.params for weight in weights),
            weight_bytes=sum(weight.size_bytes for weight in weights),
            read_bytes=read_bytes,
            written_bytes=written_bytes,
            output_shape=info.shape if info else None,
            dtype=info.dtype if info else "",
            weight_dtype=max(weights, key=lambda weight: weight.params).dtype if weights else "",
            weight_sparsity=sparsity(weights),
            uncounted=reason,
            input_zero_fraction=input_zero_fraction(node),
            zeros=read_zeros(node),
            negatives=read_negatives(node),
        )

    def _work(self, node: ir.Node) -> Macs:
        op = operator(node)
        if op in MACS:
            return left(node, MACS[op], MACS[op].count(call(node, self._shapes)), self._lookup)
        if attached(node):
            return self._nested(node)
        if op not in ZERO_MACS:
            raise UncountedError(UNCOUNTABLE.get(op, "no counting rule"))
        return Macs()

    def _nested(self, node: ir.Node) -> Macs:
        """Count what runs in a node's subgraphs."""
        work = max(_sum(self.rows(graph)) for graph in subgraphs(node, self._shapes))
        if node.op_type == "If" or work.total == 0:
            return work
        trips = self._shapes.trips.get(next((v.name for v in node.outputs if v.name), ""))
        if trips is None:
            raise UncountedError(f"{work.total} MACs a trip, but the number of trips depends on the data")
        return work.times(trips)


def _sum(rows: Iterable[NodeCost]) -> Macs:
    return sum((row.work for row in rows if row.work), Macs())
