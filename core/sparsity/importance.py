"""How much each channel unit of a group matters, in plain numpy; the least ones go first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def least(scores: Scores, count: int) -> list[int]:
    """Return the units of the `count` lowest scores, in order; of equal ones the first."""
    return sorted(np.argsort(scores, kind="stable")[:count].tolist())


def least_of_all(
    scores: Mapping[int, Scores], removable: Mapping[int, int], share: float
) -> dict[int, list[int]]:
    """Return the units of the lowest scores of all groups together, each group's divided by their mean.

    Args:
        scores: Those of each group.
        removable: How many units each group may lose.
        share: The fraction of all units to choose.
    """
    allowed = [(index, np.argsort(own, kind="stable")[: removable[index]]) for index, own in scores.items()]
    ranked = sorted(
        (float(scores[index][unit] / max(scores[index].mean(), 1e-30)), index, int(unit))
        for index, units in allowed
        for unit in units
    )
    wanted = int(share * sum(map(len, scores.values())) + 1e-9)
    return _by_group((index, unit) for _, index, unit in ranked[:wanted])


def _by_group(chosen: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, unit in chosen:
        found.setdefault(index, []).append(unit)
    return {index: sorted(units) for index, units in sorted(found.items())}


def rounded(units: Sequence[int], width: int, multiple: int) -> list[int]:
    """Return the first units such that what is left of `width` is a multiple, or nothing goes."""
    left = width - len(units)
    left += -left % multiple
    return list(units[: max(width - left, 0)])
