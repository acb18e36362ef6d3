"""Comparing what two models compute, in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.session import Feeds, Session, SessionError
from onnx_pare.graph.signature import Dim, Signature

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# largest difference allowed, relative to the largest magnitude of the output; other types must be equal
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
# scale of an output that holds nothing but zeros
_LEAST_SCALE = 1e-6
RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def differences(before: Path, after: Path, feeds: Iterable[Feeds], *, threads: int = 1) -> Iterator[str]:
    """Yield, in words, each way in which the model at `after` computes something else than that at `before`.

    Feeds that `before` itself refuses are passed over.

    Raises:
        SessionError: onnxruntime does not load one of the models.
    """
    old, new = Session(before, threads=threads), Session(after, threads=threads)
    for feed in feeds:
        try:
            expected = old.run(feed)
        except SessionError:
            continue
        try:
            outputs = new.run(feed, old.outputs)
        except SessionError as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            yield f"it does not run on {shapes}: {error}"
            continue
        for name, a, b in zip(old.outputs, expected, outputs, strict=True):
            if difference := _difference(a, b):
                yield f"output '{name}' {difference}"


def other_sizes(feeds: Feeds, signature: Signature) -> Iterator[Feeds]:
    """Yield variants of `feeds` in which one free dimension of the inputs, and then all, are twice as long.

    Inputs that share a dimension's name are repeated together, an unnamed one alone.
    """
    free = {
        port.name: {
            axis: _label(port.name, axis, dim) for axis, dim in enumerate(port.shape or ()) if _is_free(dim)
        }
        for port in signature.inputs
        if port.name in feeds
    }
    labels = sorted({label for axes in free.values() for label in axes.values()})
    for doubled in [{label} for label in labels] + ([set(labels)] if len(labels) > 1 else []):
        yield {
            name: _repeated(array, [axis for axis, label in free.get(name, {}).items() if label in doubled])
            for name, array in feeds.items()
        }


def _is_free(dim: Dim) -> bool:
    return not isinstance(dim, int)


def _label(name: str, axis: int, dim: Dim) -> str:
    return str(dim) if dim else f"{name}[{axis}]"


def _repeated(array: Array, axes: list[int]) -> Array:
    import numpy as np

    for axis in axes:
        array = np.concatenate([array, array], axis=axis)
    return array


def _difference(a: Any, b: Any) -> str:
    """Return how `b` differs from `a`, in words; empty if within the tolerance."""
    import numpy as np

    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return next(filter(None, map(_difference, a, b)), "")
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return "" if a == b else "is not the same"
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"was {a.dtype} {a.shape}, is {b.dtype} {b.shape}"
    tolerance = TOLERANCE.get(a.dtype.name)
    if tolerance is None:
        return "" if np.array_equal(a, b) else "is not the same"
    return _float_difference(a.astype(np.float64), b.astype(np.float64), tolerance)


def _float_difference(a: Array, b: Array, tolerance: float) -> str:
    import numpy as np

    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return "is infinite or NaN at other places"
    scale = max(float(np.abs(a[finite]).max(initial=0.0)), _LEAST_SCALE)
    error = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    if error <= tolerance * scale:
        return ""
    return f"differs by {error:.3g}, {error / scale:.2g} of its largest magnitude (allowed: {tolerance:g})"
