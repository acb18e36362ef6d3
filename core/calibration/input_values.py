"""What values a model's image input takes, read off its first layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration import natural
from onnx_pare.calibration.image_input import LAYOUTS
from onnx_pare.graph.edit import constant

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

# what a normalization subtracts is about the mean of the pixels: of 0..1 or of 0..255
UNIT_MEANS, BYTE_MEANS = (0.1, 1.0), (10.0, 255.0)
# a scaling alone is one of bytes if it shrinks by more than this
SHRINKS_BYTES = 1 / 32
PATCHES = 32
PATCH_SIDE = 32
ASSUMED = "mean 0 and standard deviation 1"


@dataclass(frozen=True)
class Values:
    """How pixels from 0 to 1 become an input: mean + std · (pixel − natural.MEAN) / natural.STD.

    Attributes:
        mean: Shape (channels,) or (1,).
        std: Likewise.
        why: Where that comes from, in words.
    """

    mean: Array
    std: Array
    why: str

    def of(self, pixels: Array) -> Array:
        """Return the values of an image of shape (channels, height, width)."""
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        return mean + std * (pixels - natural.MEAN) / natural.STD


def full_scale(size: float, why: str) -> Values:
    """Return the values of pixels from 0 to `size`."""
    import numpy as np

    return Values(np.array([size * natural.MEAN]), np.array([size * natural.STD]), why)


def input_values(model: ir.Model, name: str, layout: str) -> Values:
    """Return what values an image input takes.

    In this order:

    - Sub, Add, Mul and Div by constants behind the input tell bytes from 0..1 by the mean they subtract, or
      by how much they shrink.
    - A BatchNormalization of the input knows its mean and variance.
    - A BatchNormalization behind the first convolution knows those of the convolution's outputs. As the mean
      of output o is bias_o + Σ_c (Σ_k w_ock) mean_c, least squares give the means of the inputs; their
      deviation is what scales the outputs of natural images to the known variances (the median over outputs).
    - Otherwise mean 0 and standard deviation 1.
    """
    import numpy as np

    given = next(value for value in model.graph.inputs if value.name == name)
    gain, shift, value = _affine(given, 1.0, 0.0)
    found = _normalized(gain, shift)
    if found is None and gain == 1.0 and shift == 0.0 and layout == "nchw":
        found = _first_norm(value, _channels(given, LAYOUTS[layout][0]))
    return found or Values(np.zeros(1), np.ones(1), ASSUMED)


def _normalized(gain: float, shift: float) -> Values | None:
    why = "{}, as the model itself normalizes it"
    middle = -shift / gain if gain else 0.0
    if BYTE_MEANS[0] <= middle <= BYTE_MEANS[1] or (shift == 0 and 0 < gain < SHRINKS_BYTES):
        return full_scale(255, why.format("0 to 255"))
    if UNIT_MEANS[0] <= middle <= UNIT_MEANS[1]:
        return full_scale(1, why.format("0 to 1"))
    return None


def _affine(value: ir.Value, gain: float, shift: float) -> tuple[float, float, ir.Value]:
    """Follow gain · x + shift (averages over channels) through the only readers of a value."""
    uses = list(value.uses())
    node = uses[0].node if len(uses) == 1 else None
    if node is None or not node.outputs:
        return gain, shift, value
    if node.op_type in ("Cast", "Identity", "Transpose"):
        return _affine(node.outputs[0], gain, shift)
    if node.op_type not in ("Add", "Div", "Mul", "Sub") or uses[0].idx:
        return gain, shift, value
    other = constant(node.inputs[1])
    if other is None or not other.size or not other.all():
        return gain, shift, value
    number = float(other.mean())
    after = {
        "Add": (gain, shift + number),
        "Sub": (gain, shift - number),
        "Mul": (gain * number, shift * number),
        "Div": (gain / number, shift / number),
    }[node.op_type]
    return _affine(node.outputs[0], *after)


def _channels(value: ir.Value, axis: int) -> int:
    size = value.shape[axis] if value.shape is not None else None
    return size if isinstance(size, int) else 0


def _first_norm(value: ir.Value, channels: int) -> Values | None:
    import numpy as np

    node = _reader(value)
    if node is None:
        return None
    if node.op_type == "BatchNormalization":
        statistics = _statistics(node, channels)
        return statistics and Values(
            statistics[0], np.sqrt(statistics[1]), "mean and variance of the BatchNormalization behind it"
        )
    norm = _reader(node.outputs[0]) if node.op_type == "Conv" else None
    weight = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if (
        norm is None
        or norm.op_type != "BatchNormalization"
        or weight is None
        or not _solvable(weight, channels)
    ):
        return None
    outputs = weight.shape[0]
    known = _statistics(norm, outputs)
    bias = np.zeros(outputs) if len(node.inputs) < 3 or node.inputs[2] is None else constant(node.inputs[2])
    if known is None or bias is None or bias.shape != (outputs,) or not np.isfinite(bias).all():
        return None
    return _solve(weight.astype(np.float64), bias, *known)


def _solvable(weight: Array, channels: int) -> bool:
    """Return whether each output of a convolution reads all channels, by kernels that fit into a patch."""
    import numpy as np

    if weight.ndim != 4 or not weight.size or not np.isfinite(weight).all():
        return False
    return bool(weight.shape[1] == channels and max(weight.shape[2:]) <= PATCH_SIDE)


def _reader(value: ir.Value) -> ir.Node | None:
    """Return the only node that reads a value, and as its first input."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and uses[0].idx == 0 else None


def _statistics(norm: ir.Node, channels: int) -> tuple[Array, Array] | None:
    """Return mean and variance; None if they are not known, not finite, or not those of so many channels."""
    import numpy as np

    mean, variance = (constant(value) for value in norm.inputs[3:5])
    if mean is None or variance is None or not mean.shape == variance.shape == (channels,):
        return None
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        return None
    return mean.astype(np.float64), np.maximum(variance.astype(np.float64), 0.0)


def _solve(weight: Array, bias: Array, mean: Array, variance: Array) -> Values | None:
    """Return the input values that give the outputs of a convolution this mean and variance."""
    import numpy as np

    outputs, channels, height, width = weight.shape
    trust = 1 / np.sqrt(variance + 1e-3 * variance.mean() + 1e-12)
    sums = weight.sum(axis=(2, 3))
    means = np.linalg.lstsq(sums * trust[:, None], (mean - bias) * trust, rcond=1e-2)[0]
    rng = np.random.default_rng(0)
    responses = []
    for index in range(PATCHES):
        draw = natural.KINDS[index % len(natural.KINDS)]
        image = (natural.natural(rng, draw, channels, PATCH_SIDE, PATCH_SIDE) - natural.MEAN) / natural.STD
        windows = np.lib.stride_tricks.sliding_window_view(image, (height, width), axis=(1, 2))
        patches = np.moveaxis(windows[:, ::3, ::3], 0, 2).reshape(-1, channels * height * width)
        responses.append(patches @ weight.reshape(outputs, -1).T)
    own = np.concatenate(responses).var(axis=0)
    alive = (own > 1e-6 * own.max()) & (variance > 1e-6 * variance.max())
    if not alive.any():
        return None
    std = float(np.sqrt(np.median(variance[alive] / own[alive])))
    return Values(means, np.array([std]), "as the BatchNormalization behind the first convolution expects")
