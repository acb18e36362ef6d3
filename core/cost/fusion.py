"""Which operators a runtime computes in one go: named rule sets, and the grouping they lead to.

A group is led by its first operator; what is fused into it costs no pass over memory of its own. The rules
say what a kind of runtime is known to fuse, no more: what they cannot say, the fitted costs absorb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_pare.cost.compounds import compounds
from onnx_pare.cost.fused import fused
from onnx_pare.cost.memory import VIEWS

if TYPE_CHECKING:
    import onnx_ir as ir

_CONVS = frozenset({"Conv", "ConvTranspose", "com.microsoft:FusedConv"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_CHEAP = frozenset({"Clip", "LeakyRelu", "PRelu", "Relu"})
_SIGMOIDS = frozenset({"HardSigmoid", "Sigmoid", "Tanh"})
_GATED = frozenset({"HardSwish", "Mish", "Swish", "silu", "Gelu", "gelu", "hardswish"})
_BINARY = frozenset({"Add", "Div", "Mul", "Sub"})
_POINTWISE = (
    _CHEAP
    | _SIGMOIDS
    | _GATED
    | _BINARY
    | frozenset({"Abs", "Cast", "Celu", "Elu", "Equal", "Erf", "Exp", "Log", "Max", "Min", "Neg", "Not"})
    | frozenset({"Pow", "Reciprocal", "Selu", "Softplus", "Sqrt", "Where"})
)


@dataclass(frozen=True)
class FusionRules:
    """What a kind of runtime fuses.

    Attributes:
        after: Leading operator -> operators that are computed on its output before that is stored. Names in
            lower case are compounds (see `compounds`): `gelu`, `silu`, `hardswish`.
        residual: Leading operators that also add a second tensor to their output.
        chains: Whether element-wise operators that follow each other, or that read what a normalization,
            reduction or copy makes, run as one kernel.
        attention: Whether product, softmax and product run as one kernel.
        free: Operators that move no data.
        folds_batch_norm: Whether a BatchNormalization behind a convolution goes into its weights.
    """

    after: Mapping[str, frozenset[str]] = field(default_factory=dict)
    residual: frozenset[str] = frozenset()
    chains: bool = False
    attention: bool = False
    free: frozenset[str] = VIEWS
    folds_batch_norm: bool = True


def _all(leaders: frozenset[str], followers: frozenset[str]) -> dict[str, frozenset[str]]:
    return dict.fromkeys(leaders, followers)


RULES: Mapping[str, FusionRules] = {
    "none": FusionRules(folds_batch_norm=False),
    "onnxruntime-cpu": FusionRules(
        after=_all(_CONVS, _CHEAP | _SIGMOIDS) | _all(_PRODUCTS, frozenset({"Relu"})),
        residual=_CONVS,
    ),
    "ncnn": FusionRules(
        after=_all(_CONVS | _PRODUCTS, _CHEAP | _SIGMOIDS | {"HardSwish", "hardswish", "Mish"}),
        free=VIEWS | {"Split"},
    ),
    "tflite": FusionRules(
        after=_all(_CONVS | _PRODUCTS | {"Add", "Mul", "AveragePool", "MaxPool"}, frozenset({"Clip", "Relu"}))
    ),
    "gpu-eager": FusionRules(free=VIEWS, attention=True),
    "gpu-compiled": FusionRules(
        after=_all(_PRODUCTS, _POINTWISE),
        chains=True,
        attention=True,
        free=VIEWS | {"Transpose", "Slice", "Split", "Expand"},
    ),
    "cpu-compiled": FusionRules(
        after=_all(_CONVS | _PRODUCTS, _POINTWISE),
        residual=_CONVS | _PRODUCTS,
        chains=True,
        attention=True,
        free=VIEWS | {"Slice", "Split", "Expand"},
    ),
    "tensorrt": FusionRules(
        after=_all(_CONVS | _PRODUCTS, _POINTWISE),
        residual=_CONVS | _PRODUCTS,
        chains=True,
        attention=True,
        free=VIEWS | {"Concat", "Slice", "Split"},
    ),
    "npu": FusionRules(
        after=_all(_CONVS | _PRODUCTS, _POINTWISE),
        residual=_CONVS | _PRODUCTS,
        chains=True,
        free=VIEWS | {"Concat", "Slice", "Split"},
    ),
    "mcu": FusionRules(
        after=_all(_CONVS | _PRODUCTS | {"Add"}, frozenset({"Clip", "Relu"})),
    ),
}


@dataclass
class Group:
    """Nodes that run as one kernel, in order; `lead` is the one that gives it its class."""

    lead: ir.Node
    nodes: list[ir.Node]
    compound: str = ""

    @property
    def name(self) -> str:
        """Operator that the rules know it by."""
        return self.compound or (
            f"{self.lead.domain}:{self.lead.op_type}" if self.lead.domain else self.lead.op_type
        )


@dataclass(frozen=True)
class Grouped:
    """What fusion makes of a graph.

    Attributes:
        groups: In the order in which they run.
        alias: Value -> value whose memory it shares, for all outputs of free operators.
        stored_as: Float tensor -> quantized tensor that is stored in its place.
    """

    groups: Sequence[Group]
    alias: Mapping[str, str]
    stored_as: Mapping[str, str]


def group(nodes: Sequence[ir.Node], constants: frozenset[str], rules: FusionRules) -> Grouped:
    """Group the nodes of a graph (constant ones left out) by a rule set."""
    return _Grouping(nodes, constants, rules).result()


class _Grouping:
    def __init__(self, nodes: Sequence[ir.Node], constants: frozenset[str], rules: FusionRules) -> None:
        self._nodes, self._constants, self._rules = nodes, constants, rules
        self._quantized = fused(nodes, constants)
        self._compounds = compounds(nodes, constants, attention=rules.attention)
        self._alias: dict[str, str] = {}
        self._home: dict[str, Group] = {}
        self._groups: list[Group] = []

    def result(self) -> Grouped:
        done: set[ir.Node] = set()
        for node in self._nodes:
            if node in done:
                continue
            if self._is_free(node):
                self._pass_through(node)
                continue
            compound = self._compounds.get(node)
            members = list(compound.nodes) if compound else [node]
            done.update(members)
            self._place(members, compound.name if compound else "")
        return Grouped(self._groups, self._alias, self._quantized.stored_as)

    def _is_free(self, node: ir.Node) -> bool:
        return node in self._quantized.views or (not node.domain and node.op_type in self._rules.free)

    def _pass_through(self, node: ir.Node) -> None:
        sources = [v for v in node.inputs if v is not None and v.name not in self._constants]
        source = self._origin(sources[0].name or "") if sources else ""
        for value in node.outputs:
            if value.name:
                self._alias[value.name] = source
                if source in self._home:
                    self._home[value.name] = self._home[source]

    def _origin(self, name: str) -> str:
        return self._alias.get(name, name)

    def _place(self, members: list[ir.Node], compound: str) -> None:
        host = self._host(members, compound)
        if host is None:
            host = Group(members[-1] if compound == "attention" else members[0], [], compound)
            self._groups.append(host)
        elif host is not self._groups[-1]:
            # it runs when the last of what it reads is there
            self._groups.remove(host)
            self._groups.append(host)
        host.nodes += members
        for node in members:
            self._home.update({value.name: host for value in node.outputs if value.name})

    def _host(self, members: list[ir.Node], compound: str) -> Group | None:
        """Return the group that computes these nodes on the way, the latest one that may."""
        inside = {value.name for node in members for value in node.outputs}
        sources = [
            value
            for node in members
            for value in node.inputs
            if value is not None and value.name not in self._constants and value.name not in inside
        ]
        name = compound or members[0].op_type
        if any(node.domain for node in members) and not compound:
            return None
        candidates = [
            (self._groups.index(home), home)
            for value in sources
            if (home := self._home.get(value.name or "")) is not None
            and self._may_join(home, value, name, len({v.name for v in sources}), set(members))
        ]
        return max(candidates, key=lambda pair: pair[0])[1] if candidates else None

    def _may_join(self, home: Group, value: ir.Value, name: str, sources: int, members: set[ir.Node]) -> bool:
        if value.is_graph_output() or not self._read_by(value, members):
            return False
        if name == "BatchNormalization":
            return self._rules.folds_batch_norm and home.name in _CONVS and len(home.nodes) == 1
        if name in _BINARY and sources > 1:
            adds = name == "Add" and home.name in self._rules.residual
            return adds or (self._rules.chains and self._chains(home)) or self._into(home, name)
        return self._into(home, name) or (self._rules.chains and name in _POINTWISE and self._chains(home))

    def _into(self, home: Group, name: str) -> bool:
        return name in self._rules.after.get(home.name, frozenset())

    def _chains(self, home: Group) -> bool:
        from onnx_pare.cost.op_classes import CLASS_OF

        kind = CLASS_OF.get(home.name, "elementwise" if home.name in _POINTWISE else "")
        return home.name in _POINTWISE or kind in ("normalization", "softmax", "copy", "resize", "pool")

    def _read_by(self, value: ir.Value, members: set[ir.Node]) -> bool:
        """Return whether nothing but these nodes reads a value, views of it included."""
        return all(node in members for node in value.consumers())
