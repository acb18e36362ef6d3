"""Fitting stored arrays to a model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.arrays import StoredArray
from onnx_pare.calibration.image_input import LAYOUTS, ImageInput, image_input
from onnx_pare.calibration.inputs import InputSpec
from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# kinds of numbers (numpy's letters) that an input of a kind takes
COMPATIBLE = {"f": "f", "V": "f", "i": "iu", "u": "iu", "b": "b"}


@dataclass(frozen=True)
class Feeder:
    """Reads samples of one input.

    Attributes:
        name: The input.
        label: Where the array lies.
        count: The number of samples; None if there is one array for all of them.
        size_bytes: The size of the stored array.
        images: Whether preprocessing makes its samples.
        rows: Yields the samples at ascending positions.
    """

    name: str
    label: str
    count: int | None
    size_bytes: int
    images: bool
    rows: Callable[[Sequence[int]], Iterator[Array]]


def feeder(array: StoredArray, spec: InputSpec, preprocess: Preprocessing | None) -> Feeder:
    """Return how a stored array feeds an input.

    Bytes for an image input go through `preprocess`; all else is taken as it is, where numbers of the same
    kind may differ in width (float64 for float32, int32 for int64).

    Raises:
        DataError: The array has another shape or kind than the input takes, or no samples.
    """
    if 0 in array.shape:
        raise DataError(f"{array.label}: holds no samples (shape {_text(array.shape)})")
    if _holds_images(array, spec, preprocess):
        return _image_feeder(array, image_input(spec, preprocess, array.label))
    _check_kind(array, spec)
    convert = partial(_as_input, spec=spec, label=array.label)
    if spec.axis is None:
        return _whole_feeder(array, spec, convert)
    if _fits(array.shape, spec):
        return _feeder(array, spec, array.shape[spec.axis], partial(_rows, array, spec.axis, convert))
    if spec.dims is not None and _same(array.shape, spec.dims[: spec.axis] + spec.dims[spec.axis + 1 :]):
        return _feeder(array, spec, 1, partial(_single, array, spec.axis, convert))
    raise DataError(
        f"{array.label}: has shape {_text(array.shape)}; the input {spec} takes {spec.shape_text()}",
        hint=_shape_hint(array.shape, spec),
    )


def _holds_images(array: StoredArray, spec: InputSpec, preprocess: Preprocessing | None) -> bool:
    if array.dtype != "uint8" or (spec.dtype == "uint8" and preprocess is None):
        return False
    if spec.dims is None or len(spec.dims) == 4:
        return True
    if spec.dtype.kind in "iu":
        return False
    raise DataError(
        f"{array.label}: holds bytes, which are taken as images, but the input {spec} is no image",
        hint=f"Store the values that the model takes: x.astype('{spec.dtype}').",
    )


def _check_kind(array: StoredArray, spec: InputSpec) -> None:
    if array.dtype.kind not in COMPATIBLE.get(spec.dtype.kind, spec.dtype.kind):
        raise DataError(
            f"{array.label}: holds {array.dtype}; the input {spec} takes {spec.dtype}",
            hint=f"If the numbers are right, store x.astype('{spec.dtype}'). Images are stored as uint8.",
        )


def _fits(shape: Sequence[int], spec: InputSpec) -> bool:
    if spec.dims is None:
        return len(shape) > 0
    return len(shape) == len(spec.dims) and all(
        i == spec.axis or dim in (None, size)
        for i, (size, dim) in enumerate(zip(shape, spec.dims, strict=True))
    )


def _same(shape: Sequence[int], dims: Sequence[int | None]) -> bool:
    return len(shape) == len(dims) and all(d in (None, s) for s, d in zip(shape, dims, strict=True))


def _shape_hint(shape: Sequence[int], spec: InputSpec) -> str:
    if spec.dims is not None and len(shape) == len(spec.dims):
        for order in permutations(range(1, len(shape))):
            moved = tuple(shape[i] for i in (0, *order))
            if _fits(moved, spec):
                return f"Its axes may be in another order: store x.transpose{(0, *order)}."
    return (
        "Store one array of all samples, stacked along the first axis; or images as uint8 with a preprocess."
    )


def _as_input(row: Array, number: int, *, spec: InputSpec, label: str) -> Array:
    """Return a sample in the input's type.

    Raises:
        DataError: It holds NaN or infinite values (also after the cast), or integers the type cannot hold.
    """
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        cast: Array = np.ascontiguousarray(row, dtype=spec.dtype).reshape(row.shape)
    if row.dtype.kind == "f" and not np.isfinite(cast).all():
        kind = "NaN" if np.isnan(row).any() else "infinite"
        fits = f" as {spec.dtype}" if np.isfinite(row).all() else ""
        raise DataError(
            f"{label}: sample {number} (counted from 0) holds {kind} values{fits}",
            hint="Leave such samples out: calibration would take its ranges from them.",
        )
    if row.dtype.kind in "iu" and not np.array_equal(cast, row):
        raise DataError(f"{label}: sample {number} (counted from 0) holds numbers beyond {spec.dtype}")
    return cast


def _feeder(
    array: StoredArray,
    spec: InputSpec,
    count: int | None,
    rows: Callable[[Sequence[int]], Iterator[Array]],
    *,
    images: bool = False,
) -> Feeder:
    from math import prod

    return Feeder(spec.name, array.label, count, prod(array.shape) * array.dtype.itemsize, images, rows)


def _rows(
    array: StoredArray, axis: int, convert: Callable[[Array, int], Array], indices: Sequence[int]
) -> Iterator[Array]:
    for index, row in zip(indices, array.rows(axis, indices), strict=True):
        yield convert(row, index)


def _single(
    array: StoredArray, axis: int, convert: Callable[[Array, int], Array], indices: Sequence[int]
) -> Iterator[Array]:
    import numpy as np

    for index in indices:
        yield np.expand_dims(convert(array.whole(), index), axis)


def _whole_feeder(array: StoredArray, spec: InputSpec, convert: Callable[[Array, int], Array]) -> Feeder:
    """Feed an input without a sample axis: one array for all samples, or one for each, stacked."""
    dims = spec.dims or ()
    if _same(array.shape, dims):
        return _feeder(array, spec, None, partial(_repeated, array, convert))
    if array.shape and _same(array.shape[1:], dims):
        return _feeder(array, spec, array.shape[0], partial(_unstacked, array, convert))
    raise DataError(
        f"{array.label}: has shape {_text(array.shape)}; the input {spec} takes {spec.shape_text()}",
        hint="Store one array for all samples, or one for each, stacked along a new first axis.",
    )


def _repeated(
    array: StoredArray, convert: Callable[[Array, int], Array], indices: Sequence[int]
) -> Iterator[Array]:
    if indices:
        value = convert(array.whole(), 0)
        for _ in indices:
            yield value


def _unstacked(
    array: StoredArray, convert: Callable[[Array, int], Array], indices: Sequence[int]
) -> Iterator[Array]:
    for index, row in zip(indices, array.rows(0, indices), strict=True):
        yield convert(row[0], index)


def _image_feeder(array: StoredArray, target: ImageInput) -> Feeder:
    order = _pixel_order(array, target)
    count = array.shape[0] if order[0] == "n" else 1
    target.from_pixels(_pixels(next(_stored(array, order, [0])), order), f"{array.label}: image 0")
    return _feeder(array, target.spec, count, partial(_image_rows, array, target, order), images=True)


def _image_rows(
    array: StoredArray, target: ImageInput, order: str, indices: Sequence[int]
) -> Iterator[Array]:
    for index, image in zip(indices, _stored(array, order, indices), strict=True):
        yield target.from_pixels(_pixels(image, order), f"{array.label}: image {index}")


def _stored(array: StoredArray, order: str, indices: Sequence[int]) -> Iterator[Array]:
    if order[0] == "n":
        return (row[0] for row in array.rows(0, indices))
    return (array.whole() for _ in indices)


def _pixels(image: Array, order: str) -> Array:
    """Return one image as (height, width, channels)."""
    import numpy as np

    axes = order.removeprefix("n")
    if axes == "hw":
        return image[:, :, None]
    return np.moveaxis(image, 0, 2) if axes == "chw" else image


def _pixel_order(array: StoredArray, target: ImageInput) -> str:
    """Return which axes the array has: `nhwc`, `nchw`, `nhw`, `hwc`, `chw` or `hw`.

    Where the shape allows several, that with the input's height and width is taken, then the model's layout.
    """
    own_first = sorted(LAYOUTS, key=lambda layout: layout != target.layout)
    candidates = {4: own_first, 3: ["hwc", "chw", "nhw"], 2: ["hw"]}.get(len(array.shape), [])
    sizes = {order: dict(zip(order, array.shape, strict=True)) for order in candidates}
    possible = [order for order in candidates if sizes[order].get("c", 1) in (1, 3)]
    if not possible:
        raise DataError(
            f"{array.label}: has shape {_text(array.shape)}, which is no stack of images",
            hint="Store images as uint8, N×height×width×3 (or ×1), or N×3×height×width; without alpha.",
        )
    same_size = [order for order in possible if (sizes[order]["h"], sizes[order]["w"]) == target.size]
    return (same_size or possible)[0]


def _text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "of a scalar"
