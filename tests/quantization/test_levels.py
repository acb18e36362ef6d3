from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.quantization.levels import Kind, levels_of

ALL = [("uniform", 4), ("uniform", 8), ("log", 4), ("log", 8)]


@pytest.mark.parametrize(("kind", "bits"), ALL)
def test_every_code_has_its_level(kind: Kind, bits: int) -> None:
    levels = levels_of(kind, bits)
    assert len(set(levels.values.tolist())) == len(set(levels.codes.tolist())) == 2**bits
    assert (np.diff(levels.values) > 0).all()
    np.testing.assert_array_equal(levels.encode(levels.values), levels.codes)
    assert levels.encode(np.zeros(1, np.float32))[0] == 0


@pytest.mark.parametrize(("kind", "bits"), ALL)
def test_nearest(kind: Kind, bits: int) -> None:
    levels = levels_of(kind, bits)
    numbers = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32) * 2
    gaps = np.abs(numbers[..., None] - levels.values)
    np.testing.assert_allclose(np.abs(levels.nearest(numbers) - numbers), gaps.min(axis=-1), atol=1e-6)


def test_uniform_codes_are_the_levels() -> None:
    np.testing.assert_array_equal(levels_of("uniform", 4).codes, np.arange(-8, 8))


def test_log_levels_of_4_bits_are_powers_of_two() -> None:
    powers = [2.0**-e for e in range(8)]
    np.testing.assert_array_equal(levels_of("log", 4).table(), [0, *powers[:-1], *(-p for p in powers)])


def test_log_levels_of_8_bits_are_two_powers_of_two() -> None:
    powers = [2.0**e for e in range(-20, 2)]
    sums = {0.0, *powers} | {a + sign * b for a in powers for b in powers for sign in (1, -1)}
    assert set(np.abs(levels_of("log", 8).values).tolist()) <= sums
