"""Rounding weights so that a layer's outputs change least, not the weights themselves.

With C the covariance of a layer's inputs, rounding W to Ŵ changes its outputs by a variance of

    E = (Ŵ − W) · C · (Ŵ − W)ᵀ

for each row (output channel) on its own. Rounding every weight to the nearest level minimizes E only where C
is a multiple of the identity; inputs that resemble each other let one rounding error cancel another. With the
Cholesky factor C = L · Lᵀ, E = ‖(Ŵ − W) · L‖², and levels are chosen from the last weight to the first, each
taking up what those chosen before it left over in its column of L: Babai's nearest plane algorithm (Babai
1986, "On Lovász' lattice reduction and the nearest lattice point problem"), which is what GPTQ computes
(Frantar et al. 2022, arXiv:2210.17323; Chen et al. 2025, arXiv:2507.18553). Then single weights are moved by
whole levels as long as that lowers E.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# share of the mean variance that is added to all: covariances of few rows are singular
DAMPING = 0.01
# weights worked on at a time, before what they changed is carried over to the others
CHUNK = 32
SWEEPS = 1


def round_weights(weight: Array, scales: Array, covariance: Array, limit: int) -> Array:
    """Return integers within ±`limit` that make `scales` · integers stand for `weight`.

    Args:
        weight: Shape (groups, rows, inputs).
        scales: Shape (groups, rows), one per output channel.
        covariance: Shape (groups, blocks, block, block); blocks together cover the inputs, a last one may
            be longer.
        limit: Largest integer.
    """
    groups, blocks, block, _ = covariance.shape
    rows, inputs = weight.shape[1:]
    steps = np.pad(weight / scales[..., None], [(0, 0), (0, 0), (0, blocks * block - inputs)])
    # (groups * blocks, rows, block): blocks are independent of each other
    split = steps.reshape(groups, rows, blocks, block).transpose(0, 2, 1, 3).reshape(-1, rows, block)
    chosen = _descend(split, *_nearest_plane(split, covariance.reshape(-1, block, block), limit), limit)
    whole = chosen.reshape(groups, blocks, rows, block).transpose(0, 2, 1, 3).reshape(groups, rows, -1)
    return np.asarray(whole[..., :inputs])


def _nearest_plane(steps: Array, covariance: Array, limit: int) -> tuple[Array, Array]:
    """Return the integers chosen from the last to the first, and the damped covariance."""
    damped = _damped(covariance)
    # those with the largest variance come last, where the choice is free
    order = np.argsort(np.diagonal(damped, axis1=1, axis2=2), axis=1, kind="stable")
    sorted_ = np.take_along_axis(
        np.take_along_axis(damped, order[:, :, None], axis=1), order[:, None, :], axis=2
    )
    factor = _cholesky(sorted_).astype(np.float32)
    target = np.take_along_axis(steps, order[:, None, :], axis=2).astype(np.float32)
    chosen = np.zeros_like(target)
    error = np.zeros_like(target)
    size = target.shape[2]
    for end in range(size, 0, -CHUNK):
        start = max(end - CHUNK, 0)
        left = error[:, :, end:] @ factor[:, end:, start:end]
        for i in range(end - 1, start - 1, -1):
            column = left[:, :, i - start] / factor[:, i, i][:, None]
            chosen[:, :, i] = np.clip(np.round(target[:, :, i] - column), -limit, limit)
            error[:, :, i] = chosen[:, :, i] - target[:, :, i]
            left[:, :, : i - start] += error[:, :, i, None] * factor[:, i, None, start:i]
    result = np.empty_like(chosen)
    np.put_along_axis(result, order[:, None, :], chosen, axis=2)
    return result, damped


def _descend(steps: Array, chosen: Array, covariance: Array, limit: int) -> Array:
    """Move single weights to the level that is best while all others stay, `SWEEPS` times over."""
    matrix = covariance.astype(np.float32)
    target = steps.astype(np.float32)
    slope = (chosen - target) @ matrix
    size = steps.shape[2]
    for _ in range(SWEEPS):
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size)
            near = slope[:, :, start:end].copy()
            before = chosen[:, :, start:end].copy()
            for i in range(start, end):
                best = chosen[:, :, i] - near[:, :, i - start] / matrix[:, i, i][:, None]
                moved = np.clip(np.round(best), -limit, limit) - chosen[:, :, i]
                chosen[:, :, i] += moved
                near += moved[:, :, None] * matrix[:, i, None, start:end]
            slope += (chosen[:, :, start:end] - before) @ matrix[:, start:end]
    return chosen


def _cholesky(matrices: Array) -> Array:
    """Return Cholesky factors, after raising eigenvalues that rounding has made negative."""
    try:
        return np.asarray(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh(matrices)
        # a sum of few samples with a large mean loses its small variances
        lift = np.maximum(0.0, DAMPING * values[:, -1] - values[:, 0])
        return np.asarray(np.linalg.cholesky(matrices + lift[:, None, None] * np.eye(matrices.shape[1])))


def _damped(covariance: Array) -> Array:
    """Return the covariance with a small share of its mean variance on the diagonal.

    Where activations overflowed it says nothing: there all inputs count alike, and weights are rounded to the
    nearest level.
    """
    known = np.asarray(np.isfinite(covariance).all(axis=(1, 2)))
    covariance = np.where(known[:, None, None], covariance, np.eye(covariance.shape[1]))
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    share = DAMPING * variances.mean(axis=1)
    share = np.where(share > 0, share, 1.0)
    return np.asarray(covariance + share[:, None, None] * np.eye(covariance.shape[1]))
