from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from onnx_pare.calibration.moments import AT_ONCE, BLOCK, ROWS, Moments
from onnx_pare.calibration.window import Window

Array = np.ndarray
RNG = np.random.default_rng


def unfolded(array: Array, window: Window) -> Array:
    """Return every patch by explicit loops, shape (groups, patches, inputs of a group)."""
    axes = len(window.kernel)
    padding = list(zip(window.pads[:axes], window.pads[axes:], strict=True))
    padded = np.pad(array, [(0, 0), (0, 0), *padding])
    reach = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations, strict=True)]
    counts = [
        (size - length) // stride + 1
        for size, length, stride in zip(padded.shape[2:], reach, window.strides, strict=True)
    ]
    patches = []
    for sample in padded:
        for place in product(*map(range, counts)):
            starts = [p * s for p, s in zip(place, window.strides, strict=True)]
            cut = tuple(
                slice(start, start + length, step)
                for start, length, step in zip(starts, reach, window.dilations, strict=True)
            )
            patches.append(sample[(slice(None), *cut)].reshape(window.groups, -1))
    return np.array(patches).transpose(1, 0, 2)


def two_d(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), pads=(0, 0, 0, 0), groups=1) -> Window:
    return Window(kernel, strides, dilations, pads, groups)


WINDOWS = {
    "plain": (two_d(), 4),
    "strides": (two_d(strides=(2, 3)), 4),
    "uneven pads": (two_d(pads=(1, 0, 2, 3)), 4),
    "dilations": (two_d(dilations=(2, 1)), 4),
    "everything": (two_d((2, 3), (2, 1), (1, 2), (1, 2, 0, 1), 2), 6),
    "groups": (two_d(groups=2), 4),
    "depthwise": (two_d(pads=(1, 1, 1, 1), groups=5), 5),
    "pointwise": (two_d((1, 1)), 12),
    "several blocks": (two_d(), 37),
    "1-D": (Window((3,), (2,), (2,), (1, 2)), 5),
    "3-D": (Window((1, 2, 3), (1, 1, 2), (1, 1, 1), (0, 1, 0, 0, 0, 1)), 3),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_moments_are_those_of_all_patches(name: str):
    window, channels = WINDOWS[name]
    spatial = {1: (30,), 2: (10, 9), 3: (3, 5, 6)}[len(window.kernel)]
    array = (RNG(1).normal(size=(6, channels, *spatial)) + RNG(2).normal(size=(channels, *spatial))).astype(
        np.float32
    )
    moments = Moments(window, samples=6)
    for part in np.split(array, [1, 4]):
        moments.update(part)
    patches = unfolded(array, window).astype(np.float64)
    np.testing.assert_allclose(moments.mean(), patches.mean(axis=1), atol=1e-5)
    assert moments.rows == patches.shape[1]
    check_blocks(moments.covariance(), patches)


def check_blocks(found: Array, patches: Array) -> None:
    """Compare with the covariance of numpy, block by block; beyond the inputs there are zeros."""
    groups, blocks, block, _ = found.shape
    width = patches.shape[2]
    assert groups == len(patches)
    assert (blocks - 1) * block < width <= blocks * block
    for group, i in product(range(groups), range(blocks)):
        own = patches[group, :, i * block : (i + 1) * block]
        expected = np.zeros((block, block))
        expected[: own.shape[1], : own.shape[1]] = np.cov(own.T, bias=True)
        np.testing.assert_allclose(found[group, i], expected, atol=2e-4)


def test_a_matrix_is_looked_at_row_by_row():
    array = RNG(0).normal(size=(4, 7, 20)).astype(np.float32) + 2
    moments = Moments(Window(), samples=4)
    moments.update(array)
    rows = array.reshape(1, 28, 20).astype(np.float64)
    np.testing.assert_allclose(moments.mean(), rows.mean(axis=1), atol=1e-6)
    check_blocks(moments.covariance(), rows)


@pytest.mark.parametrize(
    ("window", "shape", "blocks", "block"),
    [
        (Window(), (3, BLOCK), 1, BLOCK),
        (Window(), (3, BLOCK + 1), 2, BLOCK),
        # whole channels only: 5 of 25 positions
        (two_d((5, 5)), (1, 8, 6, 6), 2, 125),
        # a kernel of more positions than a block holds
        (two_d((13, 13)), (1, 1, 14, 14), 2, BLOCK),
    ],
)
def test_blocks_hold_whole_channels(window: Window, shape: tuple[int, ...], blocks: int, block: int):
    moments = Moments(window, samples=1)
    moments.update(RNG(0).normal(size=shape).astype(np.float32))
    assert moments.covariance().shape == (1, blocks, block, block)


def test_only_as_many_patches_are_drawn_as_asked_for_and_always_the_same():
    array = RNG(0).normal(size=(2, 3, 80, 80)).astype(np.float32)
    found = []
    for _ in range(2):
        moments = Moments(two_d(), samples=4)
        moments.update(array)
        moments.update(array)
        found.append(moments)
        moments.mean()
        assert moments.rows == ROWS
    np.testing.assert_array_equal(found[0].covariance(), found[1].covariance())
    np.testing.assert_allclose(found[0].mean(), array.mean(), atol=0.1)


def test_sums_may_be_read_in_between():
    array = RNG(0).normal(size=(2, AT_ONCE + 1, 6)).astype(np.float32)
    moments = Moments(Window(), samples=2)
    moments.update(array[:1])
    first = moments.covariance().copy()
    moments.update(array[1:])
    check_blocks(first, array[:1].astype(np.float64))
    check_blocks(moments.covariance(), array.reshape(1, -1, 6).astype(np.float64))


def test_what_is_not_finite_or_empty_is_left_out():
    moments = Moments(Window(), samples=3)
    for array in (np.full((1, 4), np.nan), np.full((1, 4), np.inf), np.empty((0, 4))):
        moments.update(array.astype(np.float32))
    assert not moments.seen()
    with pytest.raises(ValueError, match="no patches"):
        moments.mean()
    moments.update(np.ones((1, 4), np.float32))
    assert moments.seen()
    np.testing.assert_array_equal(moments.mean(), np.ones((1, 4)))
