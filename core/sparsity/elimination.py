"""Which channels a layer can do without, the rest of its weights taking over what it can.

Without the inputs S, a layer's outputs are off by at least tr(W_S·[(H⁻¹)_SS]⁻¹·W_Sᵀ) in the mean square, H being
the covariance of its inputs; the weights left then are W − W_S·[(H⁻¹)_SS]⁻¹·(H⁻¹)_S: Hassibi and Stork 1993,
"Second order derivatives for network pruning: Optimal Brain Surgeon", for blocks of weights. Channels go in
steps, those first that harm the outputs of all layers that read them the least; errors add up exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# of the channels that are left, this share goes at once
STEP = 1 / 24


@dataclass
class Reader:
    """A layer, or one group of a grouped one, that reads the channels of a group; used up by `eliminate`.

    Attributes:
        inverse: Inverse covariance of its inputs, shape (inputs, inputs).
        weights: Shape (outputs, inputs).
        columns: The inputs that belong to each unit, shape (units, inputs of a unit); -1 where there are none.
        scale: What a mean square error of 1, summed over its outputs, does to the model's outputs.
    """

    inverse: Array
    weights: Array
    columns: Array
    scale: float = 1.0

    def costs(self, units: Array) -> Array:
        """Return the harm of losing each of these units alone."""
        columns = self.columns[units]
        found = np.zeros(len(units))
        there = (columns >= 0).all(axis=1)
        own = columns[there]
        if own.size:
            blocks = self.inverse[own[:, :, None], own[:, None, :]]
            weights = self.weights[:, own].transpose(1, 2, 0)
            found[there] = np.einsum("ukm,ukm->u", np.linalg.solve(blocks, weights), weights)
        return np.asarray(self.scale * found)

    def remove(self, units: Array) -> float:
        """Take units away, let the other weights take over, and return the harm."""
        lost = self.columns[units].reshape(-1)
        lost = lost[lost >= 0]
        if not len(lost):
            return 0.0
        shares = np.linalg.solve(self.inverse[np.ix_(lost, lost)], self.inverse[lost])
        harm = float(np.einsum("mk,mk->", self.weights[:, lost] @ shares[:, lost], self.weights[:, lost]))
        gone = self.inverse[np.ix_(lost, lost)]
        harm = float(np.einsum("mk,km->", self.weights[:, lost], np.linalg.solve(gone, self.weights[:, lost].T)))
        self.weights -= self.weights[:, lost] @ shares
        self.inverse -= self.inverse[:, lost] @ shares
        # what rounding left of rows that are gone, and a pivot so that blocks can be inverted
        self.weights[:, lost] = 0
        self.inverse[lost, :] = self.inverse[:, lost] = 0
        self.inverse[lost, lost] = 1
        return self.scale * harm


@dataclass(frozen=True)
class Course:
    """In which order units go, and what that does.

    Attributes:
        order: The units, the least harmful first.
        harms: The harm once so many units are gone; one entry more than `order`.
    """

    order: tuple[int, ...]
    harms: tuple[float, ...]


def eliminate(readers: Sequence[Reader], units: int, most: int, multiple: int = 1) -> Course:
    """Return in which order units go, and the harm on the way.

    Args:
        readers: All layers that read them.
        units: How many units there are.
        most: How many may go.
        multiple: Units go in steps of a multiple of this.
    """
    left = np.arange(units)
    order: list[int] = []
    harms = [0.0]
    while len(order) < most:
        step = max(int(len(left) * STEP) // multiple * multiple, multiple)
        step = min(step, most - len(order))
        costs = np.sum([reader.costs(left) for reader in readers], axis=0) if readers else np.zeros(len(left))
        chosen = np.sort(np.argsort(costs, kind="stable")[:step])
        gone = left[chosen]
        gone = gone[np.argsort(costs[chosen], kind="stable")]
        harm = sum(reader.remove(gone) for reader in readers)
        harms += np.linspace(harms[-1], harms[-1] + harm, len(gone) + 1)[1:].tolist()
        order += gone.tolist()
        left = np.delete(left, chosen)
    return Course(tuple(order), tuple(harms))
