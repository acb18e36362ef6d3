from __future__ import annotations

import numpy as np
import pytest

from onnx_pare.calibration import natural


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 20), (64, 64)])
@pytest.mark.parametrize("draw", natural.KINDS)
def test_images_of_any_size_are_pixels(draw: natural.Draw, size: tuple[int, int]):
    image = natural.natural(np.random.default_rng(0), draw, 3, *size)
    assert image.shape == (3, *size)
    assert np.isfinite(image).all()
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize("draw", natural.KINDS)
def test_brightness_and_contrast_vary_like_those_of_photographs(draw: natural.Draw):
    rng = np.random.default_rng(0)
    images = np.stack([natural.natural(rng, draw, 3, 32, 32) for _ in range(200)])
    assert images.mean() == pytest.approx(natural.MEAN, abs=0.03)
    assert images.std() == pytest.approx(natural.STD, abs=0.04)
    means, contrasts = images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))
    assert 0.08 < means.std() < 0.16
    assert 0.03 < contrasts.std() < 0.08
    together = np.corrcoef(images[:, 0].ravel(), images[:, 1].ravel())[0, 1]
    assert 0.8 < together < 1


def test_leaves_have_edges_and_flat_parts():
    rng = np.random.default_rng(0)
    kurtosis = []
    for draw in natural.KINDS:
        steps = np.concatenate([np.diff(draw(rng, 1, 64, 64)[0], axis=1).ravel() for _ in range(20)])
        kurtosis.append(np.mean(steps**4) / np.mean(steps**2) ** 2)
    assert kurtosis[0] == pytest.approx(3, abs=0.5)  # spectra alone are Gaussian
    assert kurtosis[1] > 8
