from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnx_pare.quantization.levels import Kind, Levels, levels_of
from onnx_pare.quantization.weight_only import Quantized, best_scales, even_block, quantize_matrix

Array = np.ndarray[Any, Any]


def restored(found: Quantized, levels: Levels) -> Array:
    """Return the weights that codes and scales stand for."""
    steps = np.repeat(found.scales, found.block, axis=1)[:, : found.codes.shape[1]]
    by_code = dict(zip(levels.codes.tolist(), levels.values.tolist(), strict=True))
    return np.vectorize(by_code.__getitem__)(found.codes) * steps


def matrix(rows: int = 8, columns: int = 70) -> Array:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(rows, columns)) * np.logspace(-3, 3, rows)[:, None]).astype(np.float32)


@pytest.mark.parametrize("kind", ["uniform", "log"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [32, 70])
@pytest.mark.parametrize("positive", [False, True])
def test_signal_and_noise_are_those_of_the_stored_weights(
    kind: Kind, bits: int, block: int, positive: bool
) -> None:
    weights, levels = matrix(), levels_of(kind, bits)
    found = quantize_matrix(weights, levels, block, positive=positive)
    assert found.codes.shape == (8, 70)
    assert found.scales.shape == (8, -(-70 // block))
    assert (found.scales > 0).all() or not positive
    assert found.signal == pytest.approx(np.square(weights.astype(float)).sum())
    assert found.noise == pytest.approx(np.square(weights - restored(found, levels)).sum(), rel=1e-4)


@pytest.mark.parametrize(("bits", "top"), [(4, 7), (8, 127)])
def test_the_search_beats_the_largest_magnitude(bits: int, top: int) -> None:
    weights = np.random.default_rng(1).laplace(size=(64, 256)).astype(np.float32)
    steps = np.abs(weights).max(axis=1, keepdims=True) / top
    plain = float(np.square(weights - np.round(weights / steps) * steps).sum())
    for positive in (False, True):
        assert quantize_matrix(weights, levels_of("uniform", bits), 256, positive=positive).noise < plain


@pytest.mark.parametrize(("kind", "bits"), [("uniform", 4), ("uniform", 8), ("log", 4), ("log", 8)])
def test_weights_that_are_levels_already_are_met_exactly(kind: Kind, bits: int) -> None:
    levels = levels_of(kind, bits)
    picked = np.random.default_rng(0).choice(levels.values, size=(16, 64)).astype(np.float32)
    picked[:, 0] = levels.values[0]
    for scale in (0.25, 3.0):
        assert quantize_matrix(picked * np.float32(scale), levels, 32 if bits == 4 else 64).noise == 0


@pytest.mark.parametrize("largest", range(1, 8))
def test_4_bits_meet_any_whole_multiples(largest: int) -> None:
    whole = np.random.default_rng(0).integers(-largest, largest + 1, (4, 32)).astype(np.float32)
    whole[:, 0] = largest
    found = quantize_matrix(whole / 8, levels_of("uniform", 4), 32, positive=True)
    assert found.noise == 0


def test_no_other_scale_is_better_by_much() -> None:
    block, levels = matrix(1, 32), levels_of("uniform", 4)
    scale = best_scales(block, levels)[0]
    tried = scale * np.linspace(0.5, 1.5, 1001, dtype=np.float32)[:, None]
    noise = np.square(block - tried * levels.nearest(block / tried)).sum(axis=1)
    assert noise[500] <= noise.min() * 1.1


def test_zeros_and_the_tiniest_numbers() -> None:
    weights = np.array([[0.0, 0.0], [1e-45, -1e-45], [1e-30, 0.0], [3e38, -3e38]], np.float32)
    found = quantize_matrix(weights, levels_of("uniform", 8), 2)
    assert np.isfinite(found.scales).all()
    assert found.codes[0].tolist() == [0, 0]
    np.testing.assert_allclose(restored(found, levels_of("uniform", 8))[2:], weights[2:], rtol=0.01)


def test_large_matrices_are_cut_into_parts() -> None:
    weights = np.random.default_rng(0).normal(size=(40, 1 << 13)).astype(np.float32)
    levels = levels_of("uniform", 4)
    found = quantize_matrix(weights, levels, 32)
    alone = quantize_matrix(weights[33:34], levels, 32)
    np.testing.assert_array_equal(found.codes[33:34], alone.codes)


def test_a_rounding_of_ones_own() -> None:
    def down(part: Array, steps: Array, levels: Levels) -> Array:
        return np.clip(np.floor(part / steps), levels.values[0], levels.values[-1])

    weights, levels = matrix(), levels_of("uniform", 8)
    found = quantize_matrix(weights, levels, 70, positive=True, rounding=down)
    assert (restored(found, levels) <= weights + 1e-6).mean() > 0.98


@pytest.mark.parametrize(
    ("columns", "block", "expected"), [(9, 32, 9), (144, 32, 24), (257, 32, 29), (64, 32, 32), (576, 128, 96)]
)
def test_even_block(columns: int, block: int, expected: int) -> None:
    assert even_block(columns, block) == expected
