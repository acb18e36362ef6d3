"""Which operators a runtime computes in one go: the grouping that a rule set leads to.

A group is named after its leading operator; what is fused into it costs no pass over memory of its own.
`fusion_rules` say what a kind of runtime is known to fuse, no more: what they cannot say, fitted costs hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnx_pare.cost.class_table import CLASS_OF
from onnx_pare.cost.compounds import Compound, Finder
from onnx_pare.cost.formulas import CLASS_OF_COMPOUND
from onnx_pare.cost.fused import fused
from onnx_pare.cost.fusion_rules import POINTWISE, RULES, FusionRules
from onnx_pare.cost.grouped import ACTIVATED, BARE, SUMMED, Group, Grouped
from onnx_pare.cost.layout import Layout
from onnx_pare.cost.patterns import readers

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.tensor_info import TensorInfo

__all__ = ["RULES", "FusionRules", "Group", "Grouped", "group"]

# what element-wise operators may follow in one compiled kernel, and what may follow them
_BEFORE_POINTWISE = frozenset({"normalization", "softmax", "copy", "resize", "pool"})
_AFTER_POINTWISE = frozenset({"normalization", "softmax", "reduce"})


def group(
    nodes: Sequence[ir.Node],
    constants: frozenset[str],
    infos: Mapping[str, TensorInfo],
    rules: FusionRules,
) -> Grouped:
    """Group the nodes of a graph, constant ones left out; `infos` are the shapes of its values."""
    return _Grouping(nodes, constants, infos, rules).result()


def class_of(name: str) -> str:
    """Return the class of a group, as far as its name alone tells; empty if it does not."""
    return CLASS_OF_COMPOUND.get(name) or CLASS_OF.get(name, "")


class _Grouping:
    def __init__(
        self,
        nodes: Sequence[ir.Node],
        constants: frozenset[str],
        infos: Mapping[str, TensorInfo],
        rules: FusionRules,
    ) -> None:
        self._nodes, self._constants, self._infos, self._rules = nodes, constants, infos, rules
        self._quantized = fused(nodes, constants)
        self._compounds = Finder(infos, constants).find(nodes, rules.compounds)
        self._layout = Layout(infos)
        self._alias: dict[str, str] = {}
        self._home: dict[str, Group] = {}
        self._group_of: dict[ir.Node, Group] = {}
        self._groups: list[Group] = []
        self._steps = 0

    def result(self) -> Grouped:
        for node in self._nodes:
            compound = self._compounds.get(node)
            if compound is not None:
                if node is (compound.nodes[0] if compound.name == "split" else compound.nodes[-1]):
                    self._place(compound)
            elif self._is_free(node):
                self._pass_through(node)
            else:
                self._place(Compound("", node, (node,)))
        groups = sorted(self._groups, key=lambda each: each.position)
        return Grouped(groups, self._alias, self._quantized.stored_as, *self._reorders(groups))

    def _reorders(self, groups: Sequence[Group]) -> tuple[dict[Group, list[str]], dict[Group, list[str]]]:
        """Return the tensors that change their layout before and behind groups, each once a direction."""
        entering: dict[Group, list[str]] = {}
        leaving: dict[Group, list[str]] = {}
        entered: set[str] = set()
        for each in groups:
            made = [value for node in each.nodes for value in node.outputs]
            if each.blocked and not self._layout.takes_plain(each.lead):
                read = {v.name or "" for v in self._activations(each.nodes) if not self._layout.is_blocked(v)}
                entering[each] = sorted(read - entered)
                entered |= read
            leaving[each] = [
                value.name or ""
                for value in made
                if self._layout.is_blocked(value) and (value.is_graph_output() or self._leaves(value))
            ]
        return entering, leaving

    def _leaves(self, value: ir.Value) -> bool:
        homes = [self._group_of.get(node) for node in readers(value)]
        return any(home is None or not home.blocked for home in homes)

    def _is_free(self, node: ir.Node) -> bool:
        if node in self._quantized.views or (self._rules.block and self._layout.is_reordering(node)):
            return True
        if node.op_type == "Gather" and "Slice" in self._rules.free:
            index = self._infos.get((node.inputs[1] and node.inputs[1].name) or "")
            return index is not None and index.shape == ()
        return not node.domain and node.op_type in self._rules.free

    def _pass_through(self, node: ir.Node) -> None:
        """Let a view share the memory of what it reads; what is put together of several has its own."""
        sources = self._activations([node])
        if len(sources) != 1:
            return
        source = self._alias.get(sources[0].name or "", sources[0].name or "")
        for value in node.outputs:
            if value.name:
                self._alias[value.name] = source
                if source in self._home:
                    self._home[value.name] = self._home[source]

    def _place(self, new: Compound) -> None:
        self._steps += 1
        host = self._host(new)
        if host is None:
            made = {value for node in new.nodes for value in node.outputs}
            inside = {value for node in new.nodes for value in node.inputs}
            host = Group(new.lead, [], new.name, position=self._steps, pinned=len(made - inside) > 1)
            host.blocked = self._rules.block > 0 and self._runs_blocked(new)
            self._groups.append(host)
        elif not host.pinned:
            # it runs when the last of what it reads is there
            host.position = self._steps
        host.nodes += new.nodes
        for node in new.nodes:
            self._group_of[node] = host
            self._home.update({value.name: host for value in node.outputs if value.name})
            if host.blocked:
                self._layout.blocked.update(value.name for value in node.outputs if value.name)

    def _runs_blocked(self, new: Compound) -> bool:
        if any(value.name in self._quantized.stored_as for value in new.lead.outputs):
            return False  # kernels on integers have no blocks
        if self._layout.follows(new.name or new.lead.op_type, self._activations(new.nodes)):
            return True
        return not new.name and self._layout.runs_blocked(new.lead)

    def _host(self, new: Compound) -> Group | None:
        """Return the group that computes these nodes on the way, the latest one that may."""
        sources = self._activations(new.nodes)
        homes = {home: value for value in sources if (home := self._home.get(value.name or "")) is not None}
        for home in sorted(homes, key=lambda each: -each.position):
            if self._joins(home, homes[home], new, sources):
                return home
        return None

    def _joins(self, home: Group, value: ir.Value, new: Compound, sources: Sequence[ir.Value]) -> bool:
        if any(node.domain for node in new.nodes):
            return False
        alone = self._is_read_only_by(value, home, new.nodes)
        ready = alone or (home.name not in self._rules.epilogue and self._is_ready(home, sources))
        if self._rules.chains and ready and self._chains(home, new):
            home.pinned |= not alone
            return True
        maker = value.producer()
        if not alone or home.pinned or maker is None or self._group_of.get(maker) is not home:
            return False
        if any(self._layout.is_blocked(source) != home.blocked for source in sources):
            return False
        stage = self._stage(home, new, len(sources))
        home.stage = home.stage if stage is None else stage
        return stage is not None

    def _stage(self, home: Group, new: Compound, sources: int) -> int | None:
        """Return how far along a layer is with these nodes computed on its output; None if it cannot."""
        name = new.name or new.lead.op_type
        folds = (
            sources == 1 and name in self._rules.folds.get(home.name, ()) and self._is_by_channel(new.lead)
        )
        if home.stage == BARE and folds:
            return BARE
        if home.stage == BARE and sources == 2 and name == "Add" and home.name in self._rules.residual:
            return SUMMED
        if home.stage < ACTIVATED and sources == 1 and name in self._rules.after.get(home.name, ()):
            return ACTIVATED
        return None

    def _is_by_channel(self, node: ir.Node) -> bool:
        """Return whether a node's constants are single numbers, or have one for each index of one axis."""
        made = self._infos.get(node.outputs[0].name or "")
        held = (
            self._infos.get(v.name or "") for v in node.inputs if v is not None and v.name in self._constants
        )
        return made is not None and all(info and info.elements in (1, *made.shape) for info in held)

    def _chains(self, home: Group, new: Compound) -> bool:
        """Return whether both are parts of one compiled kernel."""
        name = new.name or new.lead.op_type
        pointwise = home.name in POINTWISE
        if name in POINTWISE:
            return pointwise or class_of(home.name) in _BEFORE_POINTWISE or home.name in self._rules.epilogue
        if pointwise and class_of(name) in _AFTER_POINTWISE:
            home.lead, home.compound = new.lead, new.name
            return True
        return False

    def _is_ready(self, home: Group, sources: Sequence[ir.Value]) -> bool:
        """Return whether a group could read all of these where it runs now."""
        others = [self._home.get(value.name or "") for value in sources]
        return all(other is None or other is home or other.position < home.position for other in others)

    def _is_read_only_by(self, value: ir.Value, home: Group, members: Sequence[ir.Node]) -> bool:
        """Return whether nothing but these nodes reads what a group makes, by way of views or not."""
        current: ir.Value | None = value
        while current is not None:
            if current.is_graph_output() or any(node not in members for node in readers(current)):
                return False
            maker = current.producer()
            if maker is None or self._group_of.get(maker) is home:
                return True
            members = (maker,)
            current = next(iter(self._activations(members)), None)
        return True

    def _activations(self, nodes: Sequence[ir.Node]) -> list[ir.Value]:
        """Return what nodes read that is no constant and not made by themselves, each once."""
        made = {value for node in nodes for value in node.outputs}
        read = (value for node in nodes for value in node.inputs)
        return [
            value
            for value in dict.fromkeys(read)
            if value is not None and value.name not in self._constants and value not in made
        ]
