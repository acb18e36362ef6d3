"""Seeded synthetic samples, for models that come without data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration import natural
from onnx_pare.calibration.image_input import LAYOUTS, ImageInput, channel_layout, image_input
from onnx_pare.calibration.input_values import ASSUMED, Values, full_scale, input_values
from onnx_pare.calibration.inputs import InputSpec, model_inputs
from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.calibration.stream import Stream
from onnx_pare.errors import DataError
from onnx_pare.graph.limits import check_fits
from onnx_pare.graph.session import Feeds

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples

    Array = np.ndarray[Any, Any]

Shape = tuple[int, ...]
Make = Callable[["np.random.Generator", int, InputSpec, Shape], "Array"]


@dataclass(frozen=True)
class Generated:
    """Samples made anew for every pass over them; sample i depends on the seed, i and the shapes alone.

    Attributes:
        specs: The inputs.
        shapes: The shape of one sample of each input.
        makers: What makes each input.
        count: The number of samples.
        seed: The seed.
    """

    specs: tuple[InputSpec, ...]
    shapes: tuple[Shape, ...]
    makers: tuple[Make, ...]
    count: int
    seed: int

    def __call__(self) -> Iterator[Feeds]:
        """Yield the samples in order."""
        import numpy as np

        for index in range(self.count):
            feeds = {}
            for place, (spec, shape) in enumerate(zip(self.specs, self.shapes, strict=True)):
                rng = np.random.default_rng([self.seed, index, place])
                feeds[spec.name] = self.makers[place](rng, index, spec, shape)
            yield feeds


@dataclass(frozen=True)
class Images:
    """Makes images of each kind in turn.

    Attributes:
        kinds: What draws them.
        values: What the pixels become, unless `target` says.
        target: The preprocessing they go through as bytes.
    """

    kinds: Sequence[natural.Draw]
    values: Values
    target: ImageInput | None

    def __call__(self, rng: np.random.Generator, index: int, spec: InputSpec, shape: Shape) -> Array:
        """Return an image, or as many as the first axis of `shape` holds."""
        import numpy as np

        layout = self.target.layout if self.target else channel_layout(spec) or "nchw"
        channels, height, width = (shape[axis] for axis in LAYOUTS[layout])
        draw = self.kinds[index % len(self.kinds)]
        images = [natural.natural(rng, draw, channels, height, width) for _ in range(shape[0])]
        if self.target is not None:
            pixels = [np.moveaxis(np.round(255 * image).astype(np.uint8), 0, 2) for image in images]
            return np.concatenate([self.target.from_pixels(each, "synthetic image") for each in pixels])
        stacked = np.stack([self.values.of(image) for image in images])
        if spec.dtype.kind == "u":
            stacked = np.round(stacked)
        return np.asarray(stacked if layout == "nchw" else np.moveaxis(stacked, 1, 3), dtype=spec.dtype)


def synthetic_samples(
    model: ir.Model,
    *,
    count: int = 32,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    preprocess: Preprocessing | None = None,
    kinds: Sequence[natural.Draw] = natural.KINDS,
) -> Samples:
    """Return seeded random samples for every input of a model.

    Float and byte inputs of four dimensions with 1, 3 or 4 channels get images like photographs (see
    `natural`), by `preprocess` if there is one, else with the values that `input_values` finds. Other float
    inputs are white noise of mean 0 and standard deviation 1. Other 8-bit integers are spread over their
    range, booleans are coin flips, other integers are 0 or 1, and 1 where the input has fewer than two
    dimensions. States (`states.find_states`) are those that the model leaves itself.

    Args:
        model: The model to feed.
        count: The number of samples.
        seed: Samples with the same seed are equal byte for byte.
        shapes: Sizes of free dimensions, by input name.
        preprocess: How the run makes inputs of images.
        kinds: What draws the images, in turn.

    Raises:
        ModelError: A free dimension other than the number of samples has no size in `shapes`, or a sample
            is larger than the memory there is.
    """
    from onnx_pare.graph.shapes import input_shapes

    inputs = model_inputs(model, shapes)
    sizes = input_shapes(model, shapes)
    per_sample = tuple(_one_sample(sizes[spec.name], spec.axis) for spec in inputs.specs)
    for spec, size in zip(inputs.specs, per_sample, strict=True):  # noise is drawn in 64 bits
        check_fits(f"synthetic input '{spec.name}'", size, math.prod(size) * (8 + spec.dtype.itemsize))
    makers, said, warnings = [], [], []
    for spec in inputs.specs:
        maker: Make = _NUMBERS[_kind(spec)]
        if _kind(spec) in ("float", "byte") and channel_layout(spec) is not None:
            target, problem = _target(spec, preprocess)
            values = full_scale(255, "0 to 255") if _kind(spec) == "byte" else _values(model, spec)
            maker = Images(kinds, values, target)
            said.append(f"'{spec.name}' images, " + ("preprocessed" if target else values.why))
            warnings += problem
            if target is None and values.why == ASSUMED:
                warnings.append(
                    f"nothing says what values the images of '{spec.name}' take: {ASSUMED} are assumed;"
                    " set preprocess: if they are others"
                )
        makers.append(maker)
    source = "; ".join([f"synthetic (seed {seed})", *said])
    reader = Generated(inputs.specs, per_sample, tuple(makers), count, seed)
    return _with_states(Stream(source, True, inputs, count, reader, tuple(warnings)), model)


def _target(spec: InputSpec, preprocess: Preprocessing | None) -> tuple[ImageInput | None, list[str]]:
    """Return how pixels become the input as the run does it, or why not."""
    if preprocess is None:
        return None, []
    try:
        return image_input(spec, preprocess, "synthetic images"), []
    except DataError as error:
        return None, [f"preprocess is not applied to synthetic input: {error.message}"]


def _values(model: ir.Model, spec: InputSpec) -> Values:
    return input_values(model, spec.name, channel_layout(spec) or "nchw")


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


def _kind(spec: InputSpec) -> str:
    if spec.dtype.kind in "fV":
        return "float"
    if spec.dtype.kind == "b":
        return "bool"
    if spec.dtype.itemsize == 1:
        return "byte" if spec.dtype.kind == "u" else "signed byte"
    return "integer"


def _noise(rng: np.random.Generator, index: int, spec: InputSpec, shape: Shape) -> Array:
    return rng.standard_normal(shape).astype(spec.dtype)


def _bytes(rng: np.random.Generator, index: int, spec: InputSpec, shape: Shape) -> Array:
    import numpy as np

    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(spec.dtype)


def _coins(rng: np.random.Generator, index: int, spec: InputSpec, shape: Shape) -> Array:
    return rng.integers(0, 2, shape).astype(spec.dtype)


def _indices(rng: np.random.Generator, index: int, spec: InputSpec, shape: Shape) -> Array:
    import numpy as np

    return np.ones(shape, spec.dtype) if len(shape) < 2 else _coins(rng, index, spec, shape)


_NUMBERS: Mapping[str, Make] = {
    "float": _noise,
    "byte": _bytes,
    "signed byte": _bytes,
    "bool": _coins,
    "integer": _indices,
}
