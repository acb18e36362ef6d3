"""What a model looks like from outside: names, types and shapes of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

Dim = int | str | None


@dataclass(frozen=True)
class Port:
    """One graph input or output.

    Attributes:
        name: Its name.
        dtype: Its element type as ONNX spells it in lower case (`float32`, `uint8`), `""` if not a tensor.
        shape: Its dimensions; names for symbolic ones, None for unknown ones; None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Signature:
    """The inputs that must be fed and the outputs, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def signature(model: ir.Model) -> Signature:
    """Return the model's signature; initializers that are also inputs (opsets before 9) are left out."""
    initializers = model.graph.initializers
    return Signature(
        tuple(_port(v) for v in model.graph.inputs if v.name not in initializers),
        tuple(_port(v) for v in model.graph.outputs),
    )


def _port(value: ir.Value) -> Port:
    shape = None
    if value.shape is not None:
        shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return Port(
        value.name or "",
        DTYPE_NAMES.get(value.dtype.name, value.dtype.name.lower()) if value.dtype else "",
        shape,
    )


DTYPE_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}
