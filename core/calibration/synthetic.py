"""Seeded synthetic samples, for models that come without data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.image_input import LAYOUTS, channel_layout
from onnx_pare.calibration.inputs import InputSpec, model_inputs
from onnx_pare.calibration.stream import Stream
from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples

    Array = np.ndarray[Any, Any]

Shape = tuple[int, ...]
Make = Callable[["np.random.Generator", InputSpec, Shape], "Array"]


@dataclass(frozen=True)
class Generated:
    """Samples made anew for every pass over them; sample i depends on the seed, i and the shapes alone.

    Attributes:
        specs: The inputs.
        shapes: The shape of one sample of each input.
        count: The number of samples.
        seed: The seed.
    """

    specs: tuple[InputSpec, ...]
    shapes: tuple[Shape, ...]
    count: int
    seed: int

    def __call__(self) -> Iterator[Feeds]:
        """Yield the samples in order."""
        import numpy as np

        for index in range(self.count):
            yield {
                spec.name: _maker(spec)(np.random.default_rng([self.seed, index, place]), spec, shape)
                for place, (spec, shape) in enumerate(zip(self.specs, self.shapes, strict=True))
            }


def synthetic_samples(
    model: ir.Model,
    *,
    count: int = 32,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Samples:
    """Return seeded random samples for every input of a model.

    Float inputs of four dimensions with 1, 3 or 4 channels get images whose amplitudes fall with frequency
    like those of photographs (1/f, Field 1987), other float inputs white noise; both with mean 0 and standard
    deviation 1. Bytes are spread over their whole range, booleans are coin flips, other integers are 0 or 1,
    and 1 where the input has fewer than two dimensions.

    Args:
        model: The model to feed.
        count: The number of samples.
        seed: Samples with the same seed are equal byte for byte.
        shapes: Sizes of free dimensions, by input name.

    Raises:
        ModelError: A free dimension other than the number of samples has no size in `shapes`.
    """
    from onnx_pare.graph.shapes import input_shapes

    inputs = model_inputs(model, shapes)
    sizes = input_shapes(model, shapes)
    per_sample = tuple(_one_sample(sizes[spec.name], spec.axis) for spec in inputs.specs)
    source = Generated(inputs.specs, per_sample, count, seed)
    stream = Stream(f"synthetic (seed {seed})", True, inputs, count, source)
    return _with_states(stream, model)


def _with_states(stream: Stream, model: ir.Model) -> Stream:
    """Feed a recurrent model the states that it leaves itself; noise where that does not work, and say so."""
    from onnx_pare.calibration.sequences import SYNTHETIC_STEPS, carry
    from onnx_pare.calibration.states import find_states

    states = find_states(model)
    if not states:
        return stream
    names = ", ".join(f"'{state.input}'" for state in states)
    try:
        carried = carry(stream, stream.inputs, states, model, SYNTHETIC_STEPS)
    except DataError as error:
        said = f"the state {names} is noise, as it cannot be carried over: {error.message}"
        return replace(stream, warnings=(*stream.warnings, said))
    return replace(carried, source=f"{stream.source}, state {names} carried over {SYNTHETIC_STEPS} runs")


def _one_sample(shape: Sequence[int], axis: int | None) -> Shape:
    return tuple(1 if i == axis else size for i, size in enumerate(shape))


def _maker(spec: InputSpec) -> Make:
    if spec.dtype.kind in "fV":
        return _noise if channel_layout(spec) is None else _images
    if spec.dtype.itemsize == 1 and spec.dtype.kind in "iu":
        return _bytes
    return _coins if spec.dtype.kind == "b" else _indices


def _images(rng: np.random.Generator, spec: InputSpec, shape: Shape) -> Array:
    """Return images with a 1/f amplitude spectrum whose channels share most of their brightness."""
    import numpy as np

    layout = channel_layout(spec) or "nchw"
    channels, height, width = (shape[axis] for axis in LAYOUTS[layout])
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1 / max(height, width)
    white = rng.standard_normal((shape[0], channels + 1, height, width))
    planes = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(height, width))
    image = planes[:, :1] + 0.3 * planes[:, 1:]
    image = (image - image.mean()) / (image.std() or 1.0)
    return np.asarray(image if layout == "nchw" else np.moveaxis(image, 1, 3), dtype=spec.dtype)


def _noise(rng: np.random.Generator, spec: InputSpec, shape: Shape) -> Array:
    return rng.standard_normal(shape).astype(spec.dtype)


def _bytes(rng: np.random.Generator, spec: InputSpec, shape: Shape) -> Array:
    import numpy as np

    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(spec.dtype)


def _coins(rng: np.random.Generator, spec: InputSpec, shape: Shape) -> Array:
    return rng.integers(0, 2, shape).astype(spec.dtype)


def _indices(rng: np.random.Generator, spec: InputSpec, shape: Shape) -> Array:
    import numpy as np

    return np.ones(shape, spec.dtype) if len(shape) < 2 else _coins(rng, spec, shape)
