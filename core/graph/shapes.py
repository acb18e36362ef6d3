"""The concrete shape and type of every tensor in a model."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError, UsageError
from onnx_pare.graph.signature import Port, signature
from onnx_pare.graph.tensor_info import TensorInfo as TensorInfo

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shapes(Mapping[str, TensorInfo]):
    """Value name -> TensorInfo for the tensors of `flattened(model)`, subgraphs included.

    Attributes:
        infos: What is known.
        unknown: Names of the tensors whose shape stayed unknown: those inside of If branches that were not
            taken, and in Loop bodies that change shapes as they run. Sequences and optionals are no tensors.
        contents: Those of the small tensors that depend on shapes and constants alone, where they had to be
            computed: for one, the conditions of If.
        trips: First output of a Loop or Scan -> how often its body runs, where that is known.
    """

    infos: Mapping[str, TensorInfo]
    unknown: tuple[str, ...] = ()
    contents: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    trips: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> TensorInfo:
        return self.infos[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)

    @property
    def largest_bytes(self) -> int:
        """The size of the largest tensor."""
        return max((info.size_bytes for info in self.infos.values()), default=0)


def parse_shapes(given: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read `input=1x3x224x224`; a scalar is `input=`.

    Raises:
        UsageError: Not of that form, a dimension is no positive number, or an input is named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in given:
        name, equals, dims = text.rpartition("=")
        parts = dims.lower().replace(",", "x").split("x") if dims.strip() else []
        if not equals or not name or not all(map(_is_dim, parts)):
            raise UsageError(
                f"--shape '{text}': expected the input's name and its dimensions",
                hint="For example: --shape input=1x3x224x224",
            )
        if name in shapes:
            raise UsageError(f"--shape: input '{name}' is given twice")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _is_dim(text: str) -> bool:
    return text.strip().isdecimal() and len(text) < 20 and int(text) > 0


def input_shapes(
    model: ir.Model, given: Mapping[str, Sequence[int]] | None = None, batch: int = 1
) -> dict[str, tuple[int, ...]]:
    """Return a concrete shape for every input that must be fed.

    A dimension's number is, first found: the one in `given`; the model's own; the number another input
    gave to its name (`batch` in both `[batch, length]` and `[2, batch, 128]`); `batch` if it is the first.

    Raises:
        UsageError: `given` names no input, or contradicts the model's shape.
        ModelError: Dimensions remain free, or an input's rank is unknown; the message names them.
    """
    fixed = {name: tuple(shape) for name, shape in (given or {}).items()}
    ports = signature(model).inputs
    _check_given(ports, fixed)
    names: dict[str, int] = {}
    for port in ports:
        for dim, number in zip(port.shape or (), fixed.get(port.name, ()), strict=False):
            if isinstance(dim, str):
                names.setdefault(dim, number)
    for port in ports:
        if port.name not in fixed and port.shape and isinstance(port.shape[0], str):
            names.setdefault(port.shape[0], batch)
    return {
        port.name: fixed[port.name] if port.name in fixed else _resolved(port, names, batch) for port in ports
    }


def infer(model: ir.Model, inputs: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Infer shape and type of every tensor, given those of the inputs (see `input_shapes`).

    The model is not changed. Three steps, each for what the one before left open: onnx's shape inference;
    a walk over the nodes that also computes the contents of small tensors made from shapes and constants
    (see `propagate.Walk`); onnxruntime (see `probe.shapes`), which knows the shapes of its own operators and,
    if need be, RUNS the model once on zeros, fetching the unresolved tensors only. Names are those of
    `flattened(model)`.

    Raises:
        ModelError: The shapes contradict each other, or onnxruntime would have to run the model but cannot
            load or run it, or it is too large for this machine.
    """
    from onnx_pare.graph import probe
    from onnx_pare.graph.flat import flattened
    from onnx_pare.graph.limits import check_walk
    from onnx_pare.graph.propagate import Walk
    from onnx_pare.graph.skeleton import skeleton

    model = flattened(model)
    walk = Walk(skeleton(model, inputs))
    unresolved = walk.unresolved()
    if unresolved:
        check_walk(walk)
        logger.debug("asking onnxruntime for the shapes of %d tensors", len(unresolved))
        walk.learn(probe.shapes(model, inputs, unresolved))
    infos, unknown = walk.result()
    return Shapes(infos, unknown, walk.contents, walk.trips)


def _check_given(ports: Sequence[Port], given: Mapping[str, tuple[int, ...]]) -> None:
    known = {port.name: port for port in ports}
    for name, shape in given.items():
        port = known.get(name)
        if port is None:
            raise UsageError(
                f"the model has no input '{name}'",
                hint="Its inputs: " + ", ".join(f"{p.name} [{_dims(p)}]" for p in ports),
            )
        if port.shape is not None and (
            len(port.shape) != len(shape)
            or any(isinstance(dim, int) and dim != n for dim, n in zip(port.shape, shape, strict=True))
        ):
            given_dims = "x".join(str(number) for number in shape)
            raise UsageError(f"input '{name}' has the shape [{_dims(port)}]; {given_dims} does not fit it")


def _resolved(port: Port, names: Mapping[str, int], batch: int) -> tuple[int, ...]:
    if port.shape is None:
        raise ModelError(
            f"input '{port.name}' has no shape", hint=f"Give it one: --shape {port.name}=1x3x224x224"
        )
    dims: list[int | None] = []
    for position, dim in enumerate(port.shape):
        number = dim if isinstance(dim, int) else names.get(dim or "", batch if position == 0 else None)
        dims.append(number)
    numbers = [number for number in dims if number is not None]
    if len(numbers) < len(dims):
        free = [f"'{dim or '?'}' (position {i})" for i, dim in enumerate(port.shape) if dims[i] is None]
        example = "x".join("?" if number is None else str(number) for number in dims)
        raise ModelError(
            f"input '{port.name}' [{_dims(port)}] has free dimensions: {', '.join(free)}",
            hint=f"Give it a shape: --shape {port.name}={example} with numbers in place of '?', "
            "as in --shape input=1x3x224x224",
        )
    return tuple(numbers)


def _dims(port: Port) -> str:
    return "any" if port.shape is None else ", ".join("?" if dim is None else str(dim) for dim in port.shape)
