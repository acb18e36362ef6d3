"""Choosing one option for each layer, so that all together cost no more than a budget and harm least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# steps that costs are rounded up to: with 100 layers a budget is used up to half a percent
STEPS = 20_000


@dataclass(frozen=True)
class Option:
    """One way to have a layer.

    Attributes:
        cost: What it costs, in any unit: MACs, ms.
        harm: What it does to the outputs; harms of layers add up.
    """

    cost: float
    harm: float


def allocate(layers: Sequence[Sequence[Option]], budget: float) -> list[int] | None:
    """Return the option of each layer with the least total harm within the budget; None if none fits.

    A multiple-choice knapsack (Sinha and Zoltners 1979), solved by dynamic programming over costs rounded up
    to a 20,000th of the budget.

    Args:
        layers: The options of each layer, at least one.
        budget: Largest sum of their costs.
    """
    if not layers:
        return []
    steps = STEPS if budget > 0 else 0
    unit = budget / steps if steps else 1.0
    best = np.zeros(steps + 1)
    taken = np.zeros((len(layers), steps + 1), np.int32)
    for number, options in enumerate(layers):
        harms = np.full((len(options), steps + 1), np.inf)
        for index, option in enumerate(options):
            size = int(np.ceil(option.cost / unit - 1e-9))
            if size <= steps:
                harms[index, size:] = best[: steps + 1 - size] + option.harm
        taken[number] = harms.argmin(axis=0)
        best = harms.min(axis=0)
    if not np.isfinite(best[-1]):
        return None
    return _chosen(layers, taken, unit)


def _chosen(
    layers: Sequence[Sequence[Option]], taken: np.ndarray[tuple[int, int], np.dtype[np.int32]], unit: float
) -> list[int]:
    left = taken.shape[1] - 1
    found: list[int] = []
    for number in range(len(layers) - 1, -1, -1):
        index = int(taken[number, left])
        found.append(index)
        left -= int(np.ceil(layers[number][index].cost / unit - 1e-9))
    return found[::-1]
