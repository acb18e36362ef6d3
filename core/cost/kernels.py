"""A model as the kernels that a runtime launches: what each computes, reads, and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from onnx_pare.cost.call import Call, UncountedError, call, operator
from onnx_pare.cost.constants import constant_values, is_constant_node
from onnx_pare.cost.formulas import CLASS_OF_COMPOUND
from onnx_pare.cost.fused import PRODUCTS
from onnx_pare.cost.fusion import RULES, FusionRules, Group, Grouped, group
from onnx_pare.cost.memory import reads as reads_of
from onnx_pare.cost.op_classes import channels, op_class, rows, uneven, window
from onnx_pare.cost.patterns import readers
from onnx_pare.cost.slots import QUANTIZED

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.cost.count import Cost, NodeCost
    from onnx_pare.graph.shapes import Shapes

_INTEGER = frozenset({"int8", "uint8"})


@dataclass(frozen=True)
class Kernel:
    """One piece of work of a runtime: an operator, with what is computed on its output before it is stored.

    Attributes:
        name: The leading node's.
        op: Its operator; in lower case a compound of several (`gelu`, `attention`, see `compounds`).
        op_class: See `op_classes`.
        nodes: How many nodes it stands for; 0 if the runtime adds it to change the layout of a tensor.
        macs: Multiply-accumulates; None if they cannot be counted.
        read_bytes, written_bytes: Activations that it takes from memory and stores, each tensor once.
        weight_bytes: Constants that it reads.
        elements: Elements that it stores.
        inner: Values that one output sums up over channels (input channels of a group, K); 0 if none.
        outer: Output channels of a group, or columns N.
        rows: Positions (batch · height · width), or rows M, that the weights are applied to.
        window: Kernel area: 9 for 3×3.
        stride: The largest of its strides.
        groups: Groups of a convolution, batch of a product of activations.
        dtype: What it computes in: `float32`, `float16`, `int8`, ….
        zero_weights, zero_inputs: Fractions of zeros among weights, and in the activation as measured.
    """

    name: str
    op: str
    op_class: str
    nodes: int
    macs: int | None
    read_bytes: int
    written_bytes: int
    weight_bytes: int
    elements: int
    inner: int = 0
    outer: int = 1
    rows: int = 1
    window: int = 1
    stride: int = 1
    groups: int = 1
    dtype: str = "float32"
    zero_weights: float = 0.0
    zero_inputs: float = 0.0

    @property
    def traffic_bytes(self) -> int:
        """All bytes read and written."""
        return self.read_bytes + self.written_bytes + self.weight_bytes

    def batched(self, factor: int) -> Kernel:
        """Return the kernel for so many times the batch."""
        return replace(
            self,
            macs=None if self.macs is None else self.macs * factor,
            read_bytes=self.read_bytes * factor,
            written_bytes=self.written_bytes * factor,
            elements=self.elements * factor,
            rows=self.rows * factor,
        )


def kernels(model: ir.Model, shapes: Shapes, cost: Cost, rules: str | FusionRules) -> list[Kernel]:
    """Return the kernels that a runtime runs for a model, in order.

    Args:
        model: Not changed.
        shapes: As `infer` found them.
        cost: The same model's, at the same shapes.
        rules: What the runtime fuses: a rule set, or the name of one in `RULES`.
    """
    from onnx_pare.graph.flat import flattened

    model = flattened(model)
    constants = constant_values(model)
    nodes = [node for node in model.graph if not is_constant_node(node, constants)]
    rules = RULES[rules] if isinstance(rules, str) else rules
    grouped = group(nodes, constants, shapes, rules)
    costs = dict(zip(nodes, cost.rows, strict=True))
    maker = _Maker(shapes, constants, costs, grouped, rules.block)
    return [kernel for each in grouped.groups for kernel in maker.kernels(each)]


class _Maker:
    def __init__(
        self,
        shapes: Shapes,
        constants: frozenset[str],
        costs: Mapping[ir.Node, NodeCost],
        grouped: Grouped,
        block: int,
    ) -> None:
        self._shapes, self._constants, self._costs = shapes, constants, costs
        self._grouped, self._block = grouped, block

    def kernels(self, each: Group) -> Iterator[Kernel]:
        """Yield a group's kernel, and those that change the layout of tensors before and behind it."""
        for name in self._grouped.entering.get(each, ()):
            yield self._reorder("ReorderInput", name)
        yield self._kernel(each)
        for name in self._grouped.leaving.get(each, ()):
            yield self._reorder("ReorderOutput", name)

    def _reorder(self, op: str, name: str) -> Kernel:
        size_bytes, info = self._bytes(name), self._shapes.get(name)
        return Kernel(
            name=name,
            op=op,
            op_class="copy",
            nodes=0,
            macs=0,
            read_bytes=size_bytes,
            written_bytes=size_bytes,
            weight_bytes=0,
            elements=info.elements if info is not None else 0,
            dtype=info.dtype if info is not None else "float32",
        )

    def _kernel(self, each: Group) -> Kernel:
        lead, costs = each.lead, [self._costs[node] for node in each.nodes]
        counted = [row.macs for row in costs]
        macs = None if None in counted else sum(filter(None, counted))
        seen = call(lead, self._shapes)
        constant = any(v is not None and v.name in self._constants for v in lead.inputs[:2])
        kind = CLASS_OF_COMPOUND.get(each.compound)
        kind = kind or op_class(seen, constant_weight=constant)
        facts = _shape_facts(lead, seen, is_product=kind in ("attention", "matmul"))
        if facts["inner"] == 0 and macs and kind != "attention":
            facts["inner"] = max(1, macs // max(1, facts["outer"] * facts["rows"]))
        reads, writes = self._traffic(each.nodes)
        return Kernel(
            name=lead.name or "",
            op=each.compound or operator(lead),
            op_class=self._in_blocks(kind, facts),
            nodes=len(each.nodes),
            macs=macs,
            read_bytes=sum(reads.values()),
            written_bytes=sum(writes.values()),
            weight_bytes=sum(row.weight_bytes for row in costs),
            elements=sum(info.elements for name in writes if (info := self._shapes.get(name))),
            dtype=self._dtype(lead),
            zero_weights=self._costs[lead].weight_sparsity,
            zero_inputs=self._costs[lead].input_zero_fraction or 0.0,
            **facts,
        )

    def _in_blocks(self, kind: str, facts: Mapping[str, int]) -> str:
        inner, outer, groups = facts["inner"], facts["outer"], facts["groups"]
        return uneven(kind, inner=inner, outer=outer, groups=groups, block=self._block)

    def _traffic(self, nodes: Sequence[ir.Node]) -> tuple[dict[str, int], dict[str, int]]:
        """Return the bytes of the tensors that enter and leave a group.

        Of a tensor that it reads by way of views no more is read than the views hold, or than the tensor.
        """
        made = {value.name for node in nodes for value in node.outputs}
        members = set(nodes)
        views: dict[str, dict[str, int]] = {}
        for name in dict.fromkeys(name for node in nodes for name in reads_of(node)):
            source = self._grouped.alias.get(name, name)
            if not ({name, source} & made or name in self._constants) and name in self._shapes:
                views.setdefault(source, {})[name] = self._bytes(name)
        reads = {
            source: min(sum(parts.values()), self._bytes(source) or sum(parts.values()))
            for source, parts in views.items()
        }
        writes = {
            value.name: self._bytes(value.name)
            for node in nodes
            for value in node.outputs
            if value.name and (value.is_graph_output() or any(user not in members for user in readers(value)))
        }
        return reads, writes

    def _bytes(self, name: str) -> int:
        info = self._shapes.get(self._grouped.stored_as.get(name, name))
        return info.size_bytes if info is not None else 0

    def _dtype(self, lead: ir.Node) -> str:
        """Return what a node computes in: that of its output, or integers if that is how it is stored."""
        if operator(lead) in QUANTIZED and lead.op_type != "MatMulNBits":
            return "int8"
        # a product of integers may be stored as floats: the scale is applied on the way
        made = () if lead.op_type in PRODUCTS else lead.outputs[:1]
        names = [value.name for value in (*lead.inputs[:1], *made) if value is not None]
        stored = [self._shapes.get(self._grouped.stored_as.get(n, n)) for n in names if n]
        if stored and all(info is not None and info.dtype in _INTEGER for info in stored):
            return "int8"
        return self._costs[lead].dtype or "float32"


def _shape_facts(node: ir.Node, seen: Call, *, is_product: bool) -> dict[str, int]:
    try:
        inner, outer = channels(seen)
        area, stride = window(node, seen)
    except UncountedError:
        inner, outer, area, stride = 0, 1, 1, 1
    shape = seen.outputs[0].shape if seen.outputs and seen.outputs[0] is not None else ()
    groups = prod(shape[:-2]) if is_product else node.attributes.get_int("group", 1)
    return {
        "inner": inner,
        "outer": max(1, outer),
        "rows": max(1, rows(seen)),
        "window": max(1, area),
        "stride": stride,
        "groups": groups,
    }
