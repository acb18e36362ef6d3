"""What half precision can hold, and how a constant is rounded to it where it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]
    Use = tuple[ir.Node, int]

LARGEST = 65504.0
# below it halves lose digits one by one
SMALLEST_NORMAL = 2.0**-14
# the distance of halves below that, and the smallest of them
SMALLEST = 2.0**-24
# a tensor whose peak is smaller keeps fewer than 7 bits: less than the 40 dB asked of weights
SMALLEST_PEAK = 2.0**-17
# how well a weight must survive: plain rounding to 11 bits leaves about 70 dB
WEIGHT_SQNR_DB = 40.0
# elements of a weight looked at in one go, whatever its size
_BLOCK = 1 << 20
_EVERY = frozenset(range(64))
# places whose constants bound the data; the data fit, so that a bound may saturate
_BOUNDS: Mapping[str, frozenset[int]] = {"Clip": frozenset({1, 2}), "Max": _EVERY, "Min": _EVERY}
# places whose constants are added to data, where the absolute error counts: that of a half is below the
# rounding of the sum
_ADDED: Mapping[str, frozenset[int]] = {
    **dict.fromkeys(("Add", "Sub", "Sum"), _EVERY),
    **{op: frozenset({2}) for op in ("Conv", "ConvTranspose", "Gemm", "LayerNormalization")},
    **{op: frozenset({2}) for op in ("InstanceNormalization", "GroupNormalization")},
    **{op: frozenset({3}) for op in ("LSTM", "GRU", "RNN", "DeformConv")},
    "BatchNormalization": frozenset({2, 3}),
    "Where": frozenset({1, 2}),
    "Pad": frozenset({2}),
}


def fits(array: Array) -> bool:
    """Return whether a float32 weight survives in half: no overflow, and rounding noise 40 dB below it.

    Infinities are the same in half.
    """
    power = noise = 0.0
    flat = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        block = block[~np.isinf(block)]
        if not np.abs(block).max(initial=0.0) <= LARGEST:  # NaN compares false
            return False
        power += float(np.square(block).sum())
        noise += float(np.square(block.astype(np.float16) - block).sum())
    return noise <= power * 10 ** (-WEIGHT_SQNR_DB / 10)


def fits_at(node: ir.Node, index: int, array: Array) -> bool:
    """Return whether a constant survives in half where a node reads it.

    A bound of Clip, Max or Min need not fit, and what is added to data need not keep its digits.
    """
    if _is(_BOUNDS, node, index):
        return not np.isnan(array).any()
    if _is(_ADDED, node, index):
        finite = array[~np.isinf(array)]
        return bool(np.abs(finite).max(initial=0.0) <= LARGEST)
    return fits(array)


def half_of(array: Array, uses: Iterable[Use]) -> Array:
    """Round a constant to half for the uses given, all of which `fits_at`.

    Bounds saturate at ±65504. What is added to data, or bounds it, never turns zero: an epsilon of 1e-12
    becomes the smallest half, 2^-24, and still guards a division.
    """
    uses = list(uses)
    if any(_is(_BOUNDS, *use) for use in uses):
        array = np.where(np.isfinite(array), np.clip(array, -LARGEST, LARGEST), array)
    half = array.astype(np.float16)
    if any(_is(_BOUNDS, *use) or _is(_ADDED, *use) for use in uses):
        tiny = np.copysign(SMALLEST, array).astype(np.float16)
        half = np.where((half == 0) & (array != 0), tiny, half)
    return half


def _is(table: Mapping[str, frozenset[int]], node: ir.Node, index: int) -> bool:
    return node.domain == "" and index in table.get(node.op_type, ())
