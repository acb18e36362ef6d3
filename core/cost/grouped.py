"""A graph as groups of nodes, each of which runs as one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

BARE, SUMMED, ACTIVATED = range(3)


@dataclass(eq=False)
class Group:
    """Nodes that run as one kernel, in order.

    Attributes:
        lead: The node that gives it its class and shape.
        nodes: All of them.
        compound: Name of the compound that leads it, if any (see `compounds`).
        stage: How far along a layer it is: `BARE`, `SUMMED` with a residual, or `ACTIVATED`.
        position: Where it runs, among the others.
        pinned: Whether others read what it makes on the way, so that it cannot run later.
        blocked: Whether it runs on blocks of channels (see `layout`).
    """

    lead: ir.Node
    nodes: list[ir.Node]
    compound: str = ""
    stage: int = BARE
    position: int = 0
    pinned: bool = False
    blocked: bool = False

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
        groups: In an order in which they can run.
        alias: Value -> value whose memory it shares, for all outputs of free operators.
        stored_as: Float tensor -> quantized tensor that is stored in its place.
        entering: Group -> names of tensors that are moved into blocks of channels before it.
        leaving: Group -> those of its tensors that are moved out of blocks behind it.
    """

    groups: Sequence[Group]
    alias: Mapping[str, str]
    stored_as: Mapping[str, str]
    entering: Mapping[Group, Sequence[str]]
    leaving: Mapping[Group, Sequence[str]]
