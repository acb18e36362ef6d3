"""What a model must be fed: names, types, shapes, and which axis of each input counts samples."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.errors import ModelError, UsageError
from onnx_pare.graph.limits import check_fits
from onnx_pare.graph.signature import Dim, Port, signature

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


@dataclass(frozen=True)
class InputSpec:
    """One input that must be fed.

    Attributes:
        name: Its name.
        dtype: Its element type.
        dims: Its dimensions, None where they are free; None if not even the rank is known.
        axis: The axis that counts samples; None if the whole input belongs to each run (scalars, for one).
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | None, ...] | None
    axis: int | None

    def __str__(self) -> str:
        """Return for example `'input' (float32, N×3×32×32)`."""
        return f"'{self.name}' ({self.dtype}, {self.shape_text()})"

    def shape_text(self) -> str:
        """Return the shape as people write it, `N` for the samples and `?` for other free dimensions."""
        if self.dims is None:
            return "unknown shape"
        if not self.dims:
            return "scalar"
        names = ["N" if i == self.axis else "?" for i in range(len(self.dims))]
        return "×".join(str(names[i] if dim is None else dim) for i, dim in enumerate(self.dims))


@dataclass(frozen=True)
class ModelInputs:
    """All inputs that must be fed.

    Attributes:
        specs: The inputs, in the model's order.
        batch: The number of samples of every run if the model fixes it, else None.
    """

    specs: tuple[InputSpec, ...]
    batch: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the inputs' names, in order."""
        return tuple(spec.name for spec in self.specs)

    def without(self, names: Collection[str]) -> ModelInputs:
        """Return the inputs but for the named ones."""
        return replace(self, specs=tuple(spec for spec in self.specs if spec.name not in names))


def model_inputs(model: ir.Model, shapes: Mapping[str, Sequence[int]] | None = None) -> ModelInputs:
    """Read off the model what it must be fed.

    The first dimension counts samples, unless it is fixed while a later one bears the name that the first
    dimension of the first input has (a recurrent state of shape 2×batch×128).

    Args:
        model: The model.
        shapes: Sizes for free dimensions, by input name; that of the sample axis is not used.

    Raises:
        ModelError: An input is no tensor of numbers, empty, or larger than the memory there is.
        UsageError: `shapes` contradicts the model.
    """
    ports = signature(model).inputs
    batch, symbol = _batch(ports)
    values = {value.name: value for value in model.graph.inputs}
    specs = []
    for port in ports:
        axis = _sample_axis(port.shape, batch, symbol)
        given = (shapes or {}).get(port.name)
        dims = None if port.shape is None else tuple(d if isinstance(d, int) else None for d in port.shape)
        specs.append(
            InputSpec(port.name, _dtype(values[port.name]), _with_given(port.name, dims, given, axis), axis)
        )
    for spec in specs:
        _check_size(spec)
    return ModelInputs(tuple(specs), batch)


def _check_size(spec: InputSpec) -> None:
    least = [dim for dim in spec.dims or () if dim is not None]
    if 0 in least:
        raise ModelError(
            f"input {spec} has no elements", hint="Export the model with a free dimension, or another size."
        )
    check_fits(f"input '{spec.name}'", least, math.prod(least) * spec.dtype.itemsize)


def _batch(ports: Sequence[Port]) -> tuple[int | None, Dim]:
    """Return the fixed number of samples of a run (None: free), and what the free dimension is called."""
    firsts = [port.shape[0] for port in ports if port.shape]
    if not firsts:
        return None, None
    if isinstance(firsts[0], int):
        return firsts[0], None
    return (1, None) if 1 in firsts else (None, firsts[0])


def _sample_axis(shape: tuple[Dim, ...] | None, batch: int | None, symbol: Dim) -> int | None:
    if shape is None:
        return 0
    wanted = symbol if batch is None else batch
    if wanted is not None and wanted in shape:
        return shape.index(wanted)
    return 0 if shape and not isinstance(shape[0], int) else None


def _with_given(
    name: str, dims: tuple[int | None, ...] | None, given: Sequence[int] | None, axis: int | None
) -> tuple[int | None, ...] | None:
    if given is None:
        return dims
    free = dims if dims is not None else (None,) * len(given)
    if len(given) != len(free) or any(
        dim not in (None, size) for i, (dim, size) in enumerate(zip(free, given, strict=True)) if i != axis
    ):
        shape = "×".join("?" if dim is None else str(dim) for dim in free)
        raise UsageError(f"shape {'×'.join(map(str, given))} for input '{name}': the model's is {shape}")
    return tuple(dim if i == axis else size for i, (dim, size) in enumerate(zip(free, given, strict=True)))


def _dtype(value: ir.Value) -> np.dtype[Any]:
    if value.dtype is None or value.dtype.name in ("UNDEFINED", "STRING"):
        kind = "of unknown type" if value.dtype is None else f"of type {value.dtype.name.lower()}"
        raise ModelError(f"input '{value.name}' is {kind}; only tensors of numbers can be fed")
    return value.dtype.numpy()
