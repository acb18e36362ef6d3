"""Converting a model to half precision until onnxruntime takes it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.quantization.half_check import type_conflicts
from onnx_pare.quantization.half_plan import HEAVY, Plan, capable, fit
from onnx_pare.quantization.half_ranges import Ranges
from onnx_pare.quantization.halves import Written, write_halves

if TYPE_CHECKING:
    import onnx_ir as ir

# refusals of onnxruntime, one after the other, before the conversion gives up
MAX_REFUSALS = 8


class ConversionError(Exception):
    """The model in half precision is no valid one; the message says why."""


@dataclass(frozen=True)
class Source:
    """What to convert.

    Attributes:
        model: The model, its functions inlined and its names unique across subgraphs; it is not changed.
        floats: Names of its float32 tensors.
        skipped: Names of the nodes to leave alone.
        ranges: What was seen of its activations.
        margin: How much larger they may get.
    """

    model: ir.Model
    floats: set[str]
    skipped: set[str]
    ranges: Ranges
    margin: float


@dataclass(frozen=True)
class Converted:
    """A converted copy.

    Attributes:
        model: The copy.
        plan: Which of its nodes are half.
        written: What was rewritten.
        refused: Operators, and names of nodes, that stayed float32 because onnxruntime refuses them in half.
    """

    model: ir.Model
    plan: Plan
    written: Written
    refused: frozenset[str]


def settle(source: Source, scratch: Path) -> Converted:
    """Convert, and leave what onnxruntime refuses float32, until it loads the model.

    Every conversion is loaded in a process of its own. A plan without a node comes back as it is.

    Raises:
        ConversionError: An edge got two types, or onnxruntime refuses whatever is left float32.
    """
    flaws = set(type_conflicts(source.model))
    refused: frozenset[str] = frozenset()
    for _ in range(MAX_REFUSALS):
        made = convert(source, refused)
        if not made.plan.slots:
            return made
        check_types(made.model, flaws)
        reason = refusal(made.model, scratch)
        if not reason:
            return made
        culprits = _culprits(source, made, reason, scratch)
        if not culprits:
            break
        refused |= culprits
    raise ConversionError(f"onnxruntime does not load the model in float16: {reason}")


def check_types(model: ir.Model, flaws: set[str]) -> None:
    """Raise ConversionError if an edge has a type that does not fit, `flaws` of the original apart."""
    conflicts = [conflict for conflict in type_conflicts(model) if conflict not in flaws]
    if conflicts:
        raise ConversionError("; ".join(conflicts[:3]))


def convert(source: Source, refused: frozenset[str] = frozenset()) -> Converted:
    """Return a converted copy of the model, with what is refused left float32."""
    model = source.model.clone()
    plan = capable(model, source.floats, source.skipped, refused)
    fit(plan, source.ranges, source.margin)
    return Converted(model, plan, write_halves(model, plan), refused)


def refusal(model: ir.Model, scratch: Path) -> str:
    """Return why onnxruntime does not load the model, or an empty text; a crash does no harm."""
    from onnx_pare.graph.runnable import runnable
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.trial import refusal as refusal_of

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "half.onnx"
        write_model(model, path)
        return refusal_of(runnable(path, Path(folder)))


def _culprits(source: Source, made: Converted, reason: str, scratch: Path) -> frozenset[str]:
    """Return the operator that a message blames; where a crash left none, the nodes found by trial."""
    operators = {node.op_type for node in made.plan.slots}
    blamed = next((word for word in re.findall(r"\w+", reason) if word in operators), None)
    if blamed is not None:
        return frozenset({blamed})
    for operator in sorted(operators, key=lambda operator: (operator in HEAVY, operator)):
        if _loads(source, made.refused | {operator}, scratch):
            names = [node.name or "" for node in made.plan.slots if node.op_type == operator]
            return frozenset(_fewest(source, made.refused, names, scratch))
    return frozenset()


def _fewest(source: Source, refused: frozenset[str], names: Sequence[str], scratch: Path) -> Sequence[str]:
    """Halve the nodes that keep the model from loading as long as one half of them is enough."""
    while len(names) > 1:
        middle = len(names) // 2
        parts = [
            part for part in (names[:middle], names[middle:]) if _loads(source, refused | {*part}, scratch)
        ]
        if not parts:
            break
        names = parts[0]
    return names


def _loads(source: Source, refused: frozenset[str], scratch: Path) -> bool:
    return not refusal(convert(source, refused).model, scratch)
