"""How much each channel unit of a group matters, by its weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    from onnx_pare.graph.groups import Group, Slices

Scores = NDArray[np.float64]


def weight_norms(group: Group, norm: Literal["l1", "l2"]) -> Scores:
    """Return a score for each unit: the sum of the norms of the filters that make its channels.

    With l1 as in Li et al. 2017, "Pruning filters for efficient ConvNets" (https://arxiv.org/abs/1608.08710).
    """
    scores = np.zeros(group.units)
    for part in group.producers:
        scores += _norms(part, group.units, norm)
    return scores


def _norms(part: Slices, units: int, norm: Literal["l1", "l2"]) -> Scores:
    array: NDArray[Any] | None = constant(part.value)
    if array is None:
        raise ValueError(f"'{part.value.name}' is no constant")
    magnitude = np.abs(array.astype(np.float64))
    others = tuple(axis for axis in range(array.ndim) if axis != part.axis)
    sums = (magnitude if norm == "l1" else magnitude**2).sum(axis=others)
    own = part.unit_of >= 0
    found = np.zeros(units)
    np.add.at(found, part.unit_of[own], sums[own])
    return found if norm == "l1" else np.sqrt(found)
