"""Which channels a layer can do without, the rest of its weights taking over what it can.

Without the inputs S, a layer's outputs are off by at least tr(W_S·[(H⁻¹)_SS]⁻¹·W_Sᵀ) in the mean square, H
being the covariance of its inputs; the best weights are then W − W_S·[(H⁻¹)_SS]⁻¹·(H⁻¹)_S (Hassibi and Stork
1993, "Second order derivatives for network pruning: Optimal Brain Surgeon", for blocks of weights). Channels
go in steps, those first that harm the outputs of all layers that read them the least; errors add up exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
# of the channels that are left, this share goes at once
STEP = 1 / 24
# what is gone is taken out of the matrices once it is this share of them
CROWDED = 0.2


class Reader(Protocol):
    """A layer that reads the channels of a group."""

    def costs(self, units: Array) -> Array:
        """Return the harm of losing each of these units alone, after those that are gone."""
        ...

    def remove(self, units: Array) -> float:
        """Take units away, and return the harm."""
        ...


@dataclass
class Adapting:
    """A layer whose other weights take over what they can; used up by `eliminate`.

    Attributes:
        inverse: Inverse covariance of its inputs, rows and columns of the group's channels alone.
        weights: Weights of these inputs, shape (outputs, inputs).
        columns: Which of these inputs belong to each unit, shape (units, inputs of a unit); -1 for none.
        scale: What a mean square error of 1, summed over its outputs, does to the model's outputs.
    """

    inverse: Array
    weights: Array
    columns: Array
    scale: float = 1.0
    _gone: int = 0

    def costs(self, units: Array) -> Array:
        """Return the harm of losing each of these units alone, after those that are gone."""
        columns = self.columns[units]
        found = np.zeros(len(units))
        there = (columns >= 0).all(axis=1)
        own = columns[there]
        if own.size:
            blocks = np.linalg.inv(self.inverse[own[:, :, None], own[:, None, :]])
            weights = self.weights[:, own].transpose(1, 2, 0)
            found[there] = (blocks @ weights * weights).sum(axis=(1, 2))
        return np.asarray(self.scale * found)

    def remove(self, units: Array) -> float:
        """Take units away, and return the harm."""
        lost = self.columns[units].reshape(-1)
        lost = lost[lost >= 0]
        if not len(lost):
            return 0.0
        weights, block = self.weights[:, lost], self.inverse[np.ix_(lost, lost)]
        shares = np.linalg.solve(block, self.inverse[lost])
        harm = float((np.linalg.solve(block, weights.T) * weights.T).sum())
        self.weights -= weights @ shares
        self.inverse -= self.inverse[:, lost] @ shares
        self.columns[units] = -1
        self._gone += len(lost)
        if self._gone > CROWDED * len(self.inverse):
            self._pack()
        return self.scale * harm

    def _pack(self) -> None:
        """Forget the inputs that are gone."""
        left = np.unique(self.columns[self.columns >= 0])
        self.inverse = self.inverse[np.ix_(left, left)]
        self.weights = np.ascontiguousarray(self.weights[:, left])
        self.columns = np.where(self.columns < 0, -1, np.searchsorted(left, self.columns))
        self._gone = 0


@dataclass
class Plain:
    """A layer whose weights stay as they are.

    Attributes:
        energies: The harm of losing each unit.
        scale: What a harm of 1 does to the model's outputs.
    """

    energies: Array
    scale: float = 1.0

    def costs(self, units: Array) -> Array:
        """Return the harm of losing each of these units."""
        return np.asarray(self.scale * self.energies[units])

    def remove(self, units: Array) -> float:
        """Return the harm of losing these units."""
        return float(self.costs(units).sum())


@dataclass(frozen=True)
class Course:
    """In which order units go, and what that does.

    Attributes:
        order: The units, the least harmful first.
        harms: The harm once so many units are gone; one entry more than `order`.
    """

    order: tuple[int, ...]
    harms: tuple[float, ...]

    def scaled(self, factor: float) -> Course:
        """Return the same order with all harms multiplied."""
        return Course(self.order, tuple(factor * harm for harm in self.harms))


def eliminate(readers: Sequence[Reader], units: int) -> Course:
    """Return in which order units go, until one is left, and the harm on the way.

    Args:
        readers: All layers that read them.
        units: How many units there are.
    """
    left = np.arange(units)
    order: list[int] = []
    harms = [0.0]
    while len(left) > 1:
        step = max(int(len(left) * STEP), 1)
        costs = np.sum([reader.costs(left) for reader in readers], axis=0)
        chosen = np.argsort(costs, kind="stable")[:step]
        gone = left[chosen]
        harm = sum(reader.remove(gone) for reader in readers)
        harms += np.linspace(harms[-1], harms[-1] + max(harm, 0.0), step + 1)[1:].tolist()
        order += gone.tolist()
        left = np.delete(left, chosen)
    return Course(tuple(order), tuple(harms))
