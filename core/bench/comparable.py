"""Whether two models take the same inputs and give the same outputs, so that they can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_pare.errors import ModelError
from onnx_pare.graph.signature import Dim, Port, Signature


def check_comparable(a: Signature, b: Signature, names: tuple[str, str] = ("A", "B")) -> None:
    """Check that two signatures agree: same names in the same order, same types, no two different sizes.

    A free dimension agrees with any size. `names` are what the models are called in the message.

    Raises:
        ModelError: An input or output differs; the message says which, and how.
    """
    for kind, left, right in (("input", a.inputs, b.inputs), ("output", a.outputs, b.outputs)):
        difference = _difference(kind, left, right, names)
        if difference:
            raise ModelError(
                f"the models cannot be compared: {difference}",
                hint="Compare two versions of one model, with the same inputs and outputs.",
            )


def _difference(kind: str, a: Sequence[Port], b: Sequence[Port], names: tuple[str, str]) -> str:
    if [port.name for port in a] != [port.name for port in b]:
        return f"{kind}s of {names[0]} are {_names(a)}, of {names[1]} {_names(b)}"
    for left, right in zip(a, b, strict=True):
        if left.dtype != right.dtype:
            return f"{kind} '{left.name}' is {left.dtype} in {names[0]}, {right.dtype} in {names[1]}"
        if not _fit(left.shape, right.shape):
            shapes = (_shape(left), _shape(right))
            return f"{kind} '{left.name}' is {shapes[0]} in {names[0]}, {shapes[1]} in {names[1]}"
    return ""


def _names(ports: Sequence[Port]) -> str:
    return ", ".join(f"'{port.name}'" for port in ports) or "none"


def _fit(a: tuple[Dim, ...] | None, b: tuple[Dim, ...] | None) -> bool:
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(
        left == right
        for left, right in zip(a, b, strict=True)
        if isinstance(left, int) and isinstance(right, int)
    )


def _shape(port: Port) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in port.shape or ()) or "a scalar"
