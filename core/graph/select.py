"""Selectors: which nodes a recipe means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from onnx_pare.errors import UsageError

if TYPE_CHECKING:
    import onnx_ir as ir


def select(nodes: Iterable[ir.Node], selectors: Sequence[str], option: str) -> set[ir.Node]:
    """Return the nodes that any selector names.

    A selector is a glob over node names (`*/head/*`), or `op:` and a glob over operator types (`op:Soft*`).

    Args:
        nodes: The nodes to choose from.
        selectors: What the recipe gave.
        option: The name of the option, for the message.

    Raises:
        UsageError: A selector matches nothing.
    """
    nodes = list(nodes)
    chosen: set[ir.Node] = set()
    for selector in selectors:
        matches = [node for node in nodes if _matches(node, selector)]
        if not matches:
            raise UsageError(f"{option}: '{selector}' matches no node", hint=_hint(nodes, selector))
        chosen.update(matches)
    return chosen


def _matches(node: ir.Node, selector: str) -> bool:
    if selector.startswith("op:"):
        return fnmatchcase(node.op_type, selector[3:])
    return fnmatchcase(node.name or "", selector)


def _hint(nodes: Sequence[ir.Node], selector: str) -> str:
    from difflib import get_close_matches

    prefix = "op:" if selector.startswith("op:") else ""
    known = sorted({node.op_type if prefix else node.name or "" for node in nodes})
    close = get_close_matches(selector.removeprefix("op:"), known, n=3, cutoff=0.5) or known[:3]
    return (
        "Known here: " + ", ".join(f"'{prefix}{name}'" for name in close) + (" …" if len(known) > 3 else "")
    )
