"""The numbers that a code of 4 or 8 bits can stand for, in units of a scale: weight = scale · level.

uniform: −2^(bits−1) … 2^(bits−1) − 1, as in ONNX DequantizeLinear without a zero point.

log: zero and powers of two, so that a product is a shift (Miyashita, Lee, Murmann 2016, "Convolutional Neural
Networks using Logarithmic Data Representation", https://arxiv.org/abs/1603.01025). In 4 bits ± 2^−e, e from
0 to 7. More exponents would make 8 bits no better, since the gaps stay; there levels are sums or differences
of two powers, two shifts, in the manner of APoT (Li, Dong, Wang 2020, https://arxiv.org/abs/1909.13144):
± 2^−e · m, e from 0 to 15, m one of 1, 1 + 2^−4, 1 + 2^−3, 1 + 2^−2, 1 + 2^−1, 2 − 2^−2, 2 − 2^−3, 2 − 2^−4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Kind = Literal["uniform", "log"]
_LOG_MANTISSAS = {4: (1.0,), 8: (1.9375, 1.875, 1.75, 1.5, 1.25, 1.125, 1.0625, 1.0)}
_LOG_OCTAVES = {4: 8, 8: 16}
# of a float32; 14 are left
_DROPPED_BITS = 18


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of all codes.

    Attributes:
        bits: 4 or 8.
        values: The levels in ascending order, float32; zero is among them.
        codes: The code of each, int8 (uniform: the level itself) or uint8 (log: its place in `table`).
        peaks: Levels that the largest magnitude of a block is tried at when its scale is chosen; those beyond
            the last level clip.
        uniform: Whether the levels are consecutive whole numbers.
    """

    bits: int
    values: Array
    codes: Array
    peaks: tuple[float, ...]
    uniform: bool

    def nearest(self, numbers: Array) -> Array:
        """Return the level next to each float32 number, both of the same shape."""
        if self.uniform:
            return np.clip(np.rint(numbers), self.values[0], self.values[-1])
        levels: Array = self._by_leading_bits[numbers.view(np.uint32) >> _DROPPED_BITS]
        return levels

    @cached_property
    def _by_leading_bits(self) -> Array:
        """The level next to all numbers that share their sign, exponent and 5 bits of the mantissa.

        Middles between log levels are multiples of 1/32 times a power of two: none lies inside such a group.
        """
        groups = np.arange(1 << (32 - _DROPPED_BITS), dtype=np.uint32) << _DROPPED_BITS
        centres = (groups | (1 << (_DROPPED_BITS - 1))).view(np.float32)
        middles = (self.values[1:] + self.values[:-1]) / 2
        levels: Array = self.values[np.searchsorted(middles, centres)]
        return levels

    def encode(self, levels: Array) -> Array:
        """Return the codes of numbers that are levels."""
        if self.uniform:
            return levels.astype(self.codes.dtype)
        codes: Array = self.codes[np.searchsorted(self.values, levels)]
        return codes

    def table(self) -> Array:
        """Return the levels in the order of their codes, from code 0 up."""
        table: Array = self.values[np.argsort(self.codes)]
        return table


@cache
def levels_of(kind: Kind, bits: int) -> Levels:
    """Return the levels of 4 or 8 bits."""
    return _uniform(bits) if kind == "uniform" else _log(bits)


def _uniform(bits: int) -> Levels:
    half = 1 << (bits - 1)
    whole = np.arange(-half, half)
    # all whole numbers of 4 bits: weights that were multiples of some step are met exactly
    fitting = (half, half - 1) if bits == 8 else (*range(half, 0, -1), half - 0.5)
    clipping = [half / ratio for ratio in (0.97, 0.94, 0.9, 0.86, 0.82, 0.77, 0.72, 0.66)]
    peaks = tuple(float(peak) for peak in (*fitting, *clipping))
    return Levels(bits, whole.astype(np.float32), whole.astype(np.int8), peaks, uniform=True)


def _log(bits: int) -> Levels:
    mantissas = _LOG_MANTISSAS[bits]
    falling = [m * 2.0**-octave for octave in range(_LOG_OCTAVES[bits]) for m in mantissas]
    peaks = (*mantissas, *(mantissas[0] * 2 ** (step / 8) for step in range(-3, 8) if step))
    return _signed(bits, falling, peaks)


def _signed(bits: int, falling: Sequence[float], peaks: Sequence[float]) -> Levels:
    """Give zero the code 0, then the positive levels, the smallest left out, then the negative ones."""
    by_code = np.array([0.0, *falling[:-1], *(-level for level in falling)], np.float32)
    order = np.argsort(by_code)
    return Levels(bits, by_code[order], order.astype(np.uint8), tuple(peaks), uniform=False)
