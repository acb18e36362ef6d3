"""What removing a weight costs at a layer's output, once the others have been moved to make up for it.

A layer computes y = W · x. With A = E[x · xᵀ], weights W cost (W − W*) · A · (W − W*)ᵀ more, row by row, than
the best ones, W*. Removing weight p of a row and moving all others in the best way costs (Hassibi and Stork
1993, "Second order derivatives for network pruning: Optimal Brain Surgeon")

    w_p² / [A⁻¹]_pp        by        w ← w − w_p / [A⁻¹]_pp · [A⁻¹]_p

after which A⁻¹ loses row and column p (Frantar and Alistarh 2022, "Optimal Brain Compression",
arXiv:2208.11580). Several at once, P, go likewise with the block [A⁻¹]_PP in place of [A⁻¹]_pp. Here each row
loses its cheapest weights, a few at a time, with an A⁻¹ of its own: `exact_costs`. Where inputs are too many
for that, a weight is taken to cost w_p² · A_pp (LeCun et al. 1989, "Optimal Brain Damage"), and those that
remain are fitted anew after each of several steps: `stepped_costs`.

Costs take the place of magnitudes in `masks`: those that are removed first cost least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Choose = Callable[[Array, float], Mask]

# steps in which a row loses its weights; a step removes as many at once as that makes
STEPS = 32
# inverses held at a time
BATCH_BYTES = 64 << 20
# work of `stepped_costs` up to which it takes all its steps
STEP_MACS, STEPPED, FEWEST_STEPS = 1e11, 16, 4
# products in which weights are fitted in between
FEW = 5
# work of one fit
FIT_MACS, FEWEST_ROUNDS, MOST_ROUNDS = 3e10, 15, 100
# share of the first residual, squared, at which least squares counts as solved
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Grain:
    """What is removed as one.

    Attributes:
        rows: Rows that lose the same inputs.
        columns: Inputs that go together.
        spared: Of each `group` inputs, so many stay; 0: no such rule.
        group: See `spared`; groups are consecutive inputs.
    """

    rows: int = 1
    columns: int = 1
    spared: int = 0
    group: int = 1

    def limit(self, blocks: int) -> int:
        """Return how many of a row's blocks may go."""
        return blocks - blocks // self.group * self.spared if self.spared else blocks


def exact_costs(gram: Array, weights: Array, zeros: Mask, grain: Grain, depth: float) -> Array:
    """Return the cost at which each weight goes, never less than that of those that went before it.

    Args:
        gram: Shape (groups, inputs, inputs), positive definite: A.
        weights: Shape (groups, rows, inputs): the best ones, W*.
        zeros: Shape (groups, rows, inputs): weights that are gone already; they cost nothing.
        grain: What goes together.
        depth: Fraction of a row's weights up to which costs are found; the others are given the cost
            they have then.

    Returns:
        Shape (groups, rows, inputs).
    """
    from threadpoolctl import threadpool_limits

    # many small products: threads would wait for each other, on a busy machine for long
    with threadpool_limits(1, "blas"):
        return _exact_costs(gram, weights, zeros, grain, depth)


def _exact_costs(gram: Array, weights: Array, zeros: Mask, grain: Grain, depth: float) -> Array:
    groups, rows, inputs = weights.shape
    strips, blocks = -(-rows // grain.rows), -(-inputs // grain.columns)
    padding = ((0, 0), (0, strips * grain.rows - rows), (0, blocks * grain.columns - inputs))
    inverse = np.tile(np.eye(blocks * grain.columns), (groups, 1, 1))
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] / inputs
    inverse[:, :inputs, :inputs] = np.linalg.inv(gram / size)
    cut = np.pad(weights, padding).reshape(groups * strips, grain.rows, -1)
    gone = np.pad(zeros, padding, constant_values=True).reshape(len(cut), grain.rows, blocks, grain.columns)
    free = np.asarray(gone.all(axis=(1, 3)))
    batch = max(1, BATCH_BYTES // inverse[0].nbytes)
    count = min(grain.limit(blocks), round(depth * blocks))
    found = [
        _eliminate(
            inverse[np.arange(at, min(at + batch, len(cut))) // strips],
            cut[at : at + batch],
            free[at : at + batch],
            grain,
            count,
        )
        for at in range(0, len(cut), batch)
    ]
    costs = np.concatenate(found).reshape(groups, strips, blocks) * size
    spread = np.repeat(np.repeat(costs, grain.rows, axis=1), grain.columns, axis=2)
    return np.asarray(spread[:, :rows, :inputs])


def _eliminate(inverse: Array, weights: Array, free: Mask, grain: Grain, count: int) -> Array:
    """Remove `count` blocks of each strip, and return costs, shape (strips, blocks).

    Args:
        inverse: Shape (strips, inputs, inputs): A⁻¹; changed in place.
        weights: Shape (strips, rows of a strip, inputs); changed in place.
        free: Shape (strips, blocks): blocks that cost nothing.
        grain: What goes together.
        count: How many go.
    """
    strips, blocks = free.shape
    costs = np.full((strips, blocks), np.inf)
    highest = np.zeros((strips, 1))
    at_once = max(1, -(-blocks // STEPS))
    while count > 0:
        now = _block_costs(inverse, weights, grain.columns)
        open_ = np.where(np.isinf(costs), np.where(free, 0, now), np.inf)
        if grain.spared:
            open_ = _one_of_each_group(open_, costs, grain)
        taken = min(at_once, -(-count // (grain.group - grain.spared)) if grain.spared else count)
        chosen = np.argsort(open_, axis=1, kind="stable")[:, :taken]
        paid = np.maximum.accumulate(np.take_along_axis(open_, chosen, axis=1), axis=1)
        paid = np.maximum(paid, highest)
        np.put_along_axis(costs, chosen, paid, axis=1)
        highest = paid[:, -1:]
        _remove(inverse, weights, chosen, grain.columns)
        count -= taken
    rest = np.maximum(_block_costs(inverse, weights, grain.columns), highest)
    return np.where(np.isinf(costs), rest, costs)


def _block_costs(inverse: Array, weights: Array, columns: int) -> Array:
    """Return what each block costs now, shape (strips, blocks)."""
    if columns == 1:
        diagonal = np.maximum(np.diagonal(inverse, axis1=1, axis2=2), np.finfo(np.float64).tiny)
        return np.asarray((weights**2).sum(axis=1) / diagonal)
    strips, rows, inputs = weights.shape
    split = inverse.reshape(strips, inputs // columns, columns, inputs // columns, columns)
    own = np.ascontiguousarray(np.moveaxis(np.diagonal(split, axis1=1, axis2=3), -1, 1))
    of_blocks = weights.reshape(strips, rows, -1, columns).transpose(0, 2, 3, 1)
    solved = np.linalg.solve(own + _tiny(own), of_blocks)
    return np.asarray((solved * of_blocks).sum(axis=(2, 3)))


def _tiny(matrices: Array) -> Array:
    """Return a diagonal that makes removed blocks, which are all zeros, solvable."""
    return np.asarray(np.finfo(np.float64).tiny * np.eye(matrices.shape[-1]))


def _one_of_each_group(costs: Array, decided: Array, grain: Grain) -> Array:
    """Leave of each group of inputs its cheapest alone, and none where no more may go."""
    shape = (len(costs), -1, grain.group)
    grouped = costs.reshape(shape)
    full = np.isfinite(decided).reshape(shape).sum(axis=2) >= grain.group - grain.spared
    first = np.argmin(grouped, axis=2)[..., None]
    alone = np.full_like(grouped, np.inf)
    np.put_along_axis(alone, first, np.take_along_axis(grouped, first, axis=2), axis=2)
    alone[full] = np.inf
    return alone.reshape(costs.shape)


def _remove(inverse: Array, weights: Array, chosen: Array, columns: int) -> None:
    """Remove the chosen blocks of each strip in place, moving the other weights."""
    places = (chosen[:, :, None] * columns + np.arange(columns)).reshape(len(chosen), -1)
    theirs = np.take_along_axis(inverse, places[:, :, None], axis=1)
    corner = np.take_along_axis(theirs, places[:, None, :], axis=2)
    solved = np.linalg.inv(corner) @ theirs
    weights -= np.take_along_axis(weights, places[:, None, :], axis=2) @ solved
    inverse -= theirs.transpose(0, 2, 1) @ solved
    every = np.arange(len(places))[:, None]
    weights[every, :, places] = 0
    inverse[every, places] = 0
    inverse[every, :, places] = 0


def stepped_costs(gram: Array, weights: Array, zeros: Mask, choose: Choose, depth: float) -> Array:
    """Return costs as `exact_costs` does, from the diagonal of A alone.

    Args:
        gram: Shape (groups, inputs, inputs), positive definite: A.
        weights: Shape (groups, rows, inputs): the best ones, W*.
        zeros: Shape (groups, rows, inputs): weights that are gone already; they cost nothing.
        choose: Makes a mask of the costs of all rows, shape (groups · rows, inputs), and a fraction.
        depth: Fraction of all weights up to which costs are found.
    """
    gram = gram.astype(np.float32, copy=False)
    diagonal = np.diagonal(gram, axis1=1, axis2=2)[:, None, :]
    left = weights.astype(np.float32)
    costs, highest = np.where(zeros, 0, np.inf).astype(np.float32), np.float32(0)
    steps = int(np.clip(STEP_MACS / (left.size * left.shape[2] * (FEW + 1)), FEWEST_STEPS, STEPPED))
    gone = zeros
    for step in range(1, steps + 1):
        now = np.where(gone, 0, np.maximum(left**2 * diagonal, highest))
        flat = now.reshape(-1, now.shape[2])
        new = (choose(flat, depth * step / steps).reshape(gone.shape) | zeros) & ~gone
        costs[new] = now[new]
        highest = np.maximum(highest, now[new].max(initial=0))
        gone = gone | new
        left = fit(gram, weights, gone, left, rounds=FEW)
    return np.where(np.isinf(costs), np.maximum(left**2 * diagonal, highest), costs)


def fit(gram: Array, best: Array, gone: Mask, start: Array, rounds: int | None = None) -> Array:
    """Return the weights of least cost among those that are zero where `gone` is.

    By conjugate gradients over all rows at once, each confined to its own weights and preconditioned with the
    diagonal (Hestenes and Stiefel 1952).

    Args:
        gram: Shape (…, inputs, inputs), positive definite.
        best: Shape (…, rows, inputs): W*.
        gone: Shape (…, rows, inputs).
        start: Shape (…, rows, inputs): where to start.
        rounds: Products with `gram` at most; by default as many as the work allows.

    Returns:
        Shape (…, rows, inputs), of the type of `gram`.
    """
    if rounds is None:
        work = best.size * best.shape[-1]
        rounds = int(np.clip(FIT_MACS / max(work, 1), FEWEST_ROUNDS, MOST_ROUNDS))
    best = best.astype(gram.dtype, copy=False)
    inverse = np.where(gone, 0, 1 / np.diagonal(gram, axis1=-2, axis2=-1)[..., None, :])
    found = np.where(gone, 0, start).astype(gram.dtype)
    residual = (best - found) @ gram
    direction = inverse * residual
    height = _dot(residual, direction)
    goal = TOLERANCE * height
    for _ in range(rounds):
        if (height <= goal).all():
            break
        along = direction @ gram
        curve = _dot(direction, along)
        length = np.where(curve > 0, height / np.where(curve > 0, curve, 1), 0)
        found += length * direction
        residual -= length * along
        scaled = inverse * residual
        new = _dot(residual, scaled)
        direction = scaled + np.where(height > 0, new / np.where(height > 0, height, 1), 0) * direction
        height = new
    return np.asarray(found)


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(axis=-1, keepdims=True))
