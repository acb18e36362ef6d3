"""Choosing the range of a tensor from its histogram: what to keep, and what to clip.

A value x held in `levels` integers over [low, high], step Δ = (high − low) / (levels − 1), comes back with an
expected squared error (Widrow & Kollár 2008, "Quantization Noise", for the rounding)

    inside       Δ² / 12, but x² where |x| < Δ/2: that rounds to zero
    outside      (x − low)² or (x − high)²: it is clipped
    exactly 0    0, since every range holds zero as an integer
    the extremes (x − their nearest integer)², as often as they are repeated

The last two matter: half of what a Relu makes is exactly zero, and Clip and Relu6 pile values up at a bound.
Banner et al. 2019, "Post training 4-bit quantization of convolutional networks for rapid-deployment",
minimize the same error in closed form for known distributions; here it is summed over the histogram itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from onnx_pare.calibration.divergence import least_divergence
from onnx_pare.calibration.mass import Mass
from onnx_pare.calibration.observers import Histogram

Array = np.ndarray[Any, Any]
Method = Literal["auto", "minmax", "percentile", "mse", "entropy"]
# of a bin: no real range is so narrow, and it divides
FINEST_STEP = 2.0**-30
# candidates on each side in one round of the search
CANDIDATES = 24
# clipping that gains less is not worth ranges that vary with the samples
WORTH_DB = 0.1
# how much worse `auto` takes an error of clipping than one of rounding: it has one sign and
# strikes the largest activations, while rounding averages out in sums
CLIP_COST = 8.0
# an end is where values pile up if so many are exactly it, or so many lie within a step of it
REPEATED_SHARE, REPEATED_AT_LEAST = 1e-4, 16
NEAR_END_SHARE = 1e-3


@dataclass(frozen=True)
class Range:
    """The range of one tensor; it holds zero.

    Attributes:
        low: Its lowest real value, at most 0; 0 if the tensor has nothing below.
        high: Its highest real value, at least 0.
        method: What chose it; for `auto` the method that was taken, `minmax` or `mse`.
        squared_error: Expected squared error of one value, in the tensor's own unit squared.
        sqnr_db: Mean square of the values over `squared_error`; inf where there is no error.
    """

    low: float
    high: float
    method: str
    squared_error: float
    sqnr_db: float


def choose_range(
    histogram: Histogram, method: Method, *, percentile: float = 99.99, levels: int = 256
) -> Range:
    """Return the range to quantize a tensor with.

    - `minmax`: the extremes.
    - `percentile`: all but (100 − `percentile`) % of the values at either end.
    - `mse`: the least expected squared error over pairs (low, high) of bin edges.
    - `entropy`: see `divergence.least_divergence`.
    - `auto`: `mse` with clipping weighed `CLIP_COST` times; but an end where values pile up (a plateau of
      Relu6, a saturated Sigmoid, white pixels) is never clipped, and nothing is where that gains less than
      `WORTH_DB`.

    Args:
        histogram: What was seen of the tensor.
        method: One of the above.
        percentile: For `percentile`, in %.
        levels: How many integers there are: 256 for 8 bits.

    Raises:
        ValueError: There is no such method, or `levels` is below 2.
    """
    if method not in get_args(Method) or levels < 2:
        raise ValueError(f"no range of {levels} levels by {method!r}")
    low, high = histogram.extremes.range()
    minmax = min(low, 0.0), max(high, 0.0)
    mass = Mass.of(histogram)
    choosers: dict[str, Callable[[], tuple[float, float]]] = {
        "minmax": lambda: minmax,
        "percentile": lambda: histogram.range(percentile),
        "mse": lambda: _least_error(mass, levels),
        "entropy": lambda: least_divergence(mass, levels),
        "auto": lambda: _least_error(mass, levels, *_piled_up(mass, levels), CLIP_COST),
    }
    low, high = choosers[method]()
    chosen = _range(mass, min(low, 0.0), max(high, 0.0), "mse" if method == "auto" else method, levels)
    if method != "auto":
        return chosen
    plain = _range(mass, *minmax, "minmax", levels)
    return chosen if chosen.sqnr_db > plain.sqnr_db + WORTH_DB else plain


def _range(mass: Mass, low: float, high: float, method: str, levels: int) -> Range:
    error = float(_errors(mass, np.array([low]), np.array([high]), levels)[0, 0])
    sqnr_db = 10 * math.log10(mass.signal / error) if error > 0 else math.inf
    return Range(low, high, method, error / max(mass.total, 1), sqnr_db)


def _least_error(
    mass: Mass, levels: int, keep_low: bool = False, keep_high: bool = False, clip_cost: float = 1.0
) -> tuple[float, float]:
    """Return the bin edges of least error, the widest of equals; a kept end stays where it is.

    Coarse to fine: a grid over all edges, then a finer one between the neighbours of the best, and so on.
    """
    lows = mass.edges[mass.edges <= 0.0] if mass.low < 0 else np.zeros(1)
    highs = mass.edges[mass.edges >= 0.0][::-1] if mass.high > 0 else np.zeros(1)
    lows, highs = lows[: 1 if keep_low else None], highs[: 1 if keep_high else None]
    span = [(0, len(lows) - 1), (0, len(highs) - 1)]
    while True:
        i, j = (np.unique(np.linspace(*ends, CANDIDATES).astype(np.int64)) for ends in span)
        errors = _errors(mass, lows[i], highs[j], levels, clip_cost)
        row, column = (int(at) for at in np.unravel_index(errors.argmin(), errors.shape))
        if all(len(tried) == last - first + 1 for tried, (first, last) in zip((i, j), span, strict=True)):
            return float(lows[i[row]]), float(highs[j[column]])
        span = [_around(i, row), _around(j, column)]


def _around(tried: Array, best: int) -> tuple[int, int]:
    return int(tried[max(best - 1, 0)]), int(tried[min(best + 1, len(tried) - 1)])


def _errors(mass: Mass, lows: Array, highs: Array, levels: int, clip_cost: float = 1.0) -> Array:
    """Return the sums of squared errors for every pair, clipping weighed: shape (len(lows), len(highs)).

    The grid is the one that zero is on, low′ = −z Δ with z = round(−low / Δ), as activations are quantized.
    """
    low, high = lows[:, None], highs[None, :]
    step = np.maximum((high - low) / (levels - 1), mass.width * FINEST_STEP)
    zero = np.round(-low / step)
    low, high = -zero * step, (levels - 1 - zero) * step
    noise = step**2 / 12
    below, clipped_low = mass.beyond(low, -1)
    above, clipped_high = mass.beyond(high, 1)
    start, end = np.maximum(low, -step / 2), np.minimum(high, step / 2)
    near_zero = mass.at(mass.count, end) - mass.at(mass.count, start)
    own = mass.at(mass.square, end) - mass.at(mass.square, start)
    inside = noise * (mass.count[-1] - below - above) - np.maximum(noise * near_zero - own, 0.0)
    repeated = ((mass.low, mass.at_low), (mass.high, mass.at_high))
    ends = sum(count * (x - np.clip(np.round(x / step) * step, low, high)) ** 2 for x, count in repeated)
    return np.asarray(np.maximum(inside, 0.0) + clip_cost * (clipped_low + clipped_high + ends))


def _piled_up(mass: Mass, levels: int) -> tuple[bool, bool]:
    """Tell for the low and the high end whether values pile up there."""
    step = (max(mass.high, 0.0) - min(mass.low, 0.0)) / (levels - 1)
    repeated = max(REPEATED_AT_LEAST, REPEATED_SHARE * mass.total)
    near_low = mass.at(mass.count, np.asarray(mass.low + step)) + mass.at_low
    near_high = mass.count[-1] - mass.at(mass.count, np.asarray(mass.high - step)) + mass.at_high
    nonzero = mass.count[-1] + mass.at_low + mass.at_high
    return (
        bool(mass.at_low >= repeated or near_low > NEAR_END_SHARE * nonzero),
        bool(mass.at_high >= repeated or near_high > NEAR_END_SHARE * nonzero),
    )
