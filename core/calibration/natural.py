"""Seeded images with the statistics of photographs.

Neither needs a photograph, and filters see in both what they see in real ones: the amplitude spectrum
(`spectrum`) and objects that occlude each other, with edges at all scales (`leaves`). Baradad et al. 2021,
"Learning to See by Looking at Noise", compare such images as training data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Draw = Callable[["np.random.Generator", int, int, int], "Array"]
# what `natural` images have on average, of a full scale of 1
MEAN, STD = 0.45, 0.25
# the brightness of a photograph varies between these, and its contrast (CIFAR-10's deviate by 0.13, and from
# 0.15 to 0.26)
BRIGHTNESS, CONTRAST = (0.25, 0.65), (0.1, 0.3)
# a channel's own part beside what all share
COLOUR = 0.3
# leaves enough to cover an image many times over
LEAVES = 300


def natural(rng: np.random.Generator, draw: Draw, channels: int, height: int, width: int) -> Array:
    """Return an image of shape (channels, height, width) from 0 to 1, of random brightness and contrast."""
    import numpy as np

    image = draw(rng, channels, height, width)
    image = (image - image.mean()) / (image.std() or 1.0)
    return np.asarray(np.clip(rng.uniform(*BRIGHTNESS) + rng.uniform(*CONTRAST) * image, 0.0, 1.0))


def spectrum(rng: np.random.Generator, channels: int, height: int, width: int) -> Array:
    """Return an image whose amplitudes fall with frequency as 1/f.

    Field 1987, "Relations between the statistics of natural images and the response properties of cortical
    cells". The channels share most of their brightness.
    """
    import numpy as np

    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1 / max(height, width)
    white = rng.standard_normal((channels + 1, height, width))
    planes = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(height, width))
    return np.asarray(planes[:1] + COLOUR * planes[1:])


def leaves(rng: np.random.Generator, channels: int, height: int, width: int) -> Array:
    """Return discs that occlude each other, of radii r with density r⁻³, each with a colour and a shade.

    Lee, Mumford & Huang 2001, "Occlusion models for natural images": with that density the image looks the
    same at every scale.
    """
    import numpy as np

    largest = max(height, width) / 2
    smallest = max(largest / 32, 0.5)
    share = rng.random(LEAVES)
    # inverse of the distribution function of r⁻³ between the two
    radii = 1 / np.sqrt(share / smallest**2 + (1 - share) / largest**2)
    tops, lefts = rng.uniform(0, height, LEAVES), rng.uniform(0, width, LEAVES)
    colours = rng.standard_normal((LEAVES, 1)) + COLOUR * rng.standard_normal((LEAVES, channels))
    slopes = rng.standard_normal((LEAVES, 2)) / (2 * largest)
    image: Array = np.broadcast_to(colours[0][:, None, None], (channels, height, width)).copy()
    rows, columns = np.arange(height), np.arange(width)
    for top, left, radius, colour, slope in zip(tops, lefts, radii, colours, slopes, strict=True):
        near_rows = slice(max(int(top - radius), 0), int(top + radius) + 1)
        near_columns = slice(max(int(left - radius), 0), int(left + radius) + 1)
        y, x = (rows[near_rows] - top)[:, None], columns[near_columns] - left
        inside = y**2 + x**2 < radius**2
        shade = slope[0] * y + slope[1] * x
        image[:, near_rows, near_columns][:, inside] = colour[:, None] + shade[inside]
    return image


KINDS: tuple[Draw, ...] = (spectrum, leaves)
