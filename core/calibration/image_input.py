"""From pixels to a model's input: geometry, colour, and the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.inputs import InputSpec
from onnx_pare.calibration.preprocess import PRESETS, Preprocessing
from onnx_pare.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

Size = tuple[int, int]
IMAGE_CHANNELS = (1, 3)
LAYOUTS = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}  # axes of channels, height, width


@dataclass(frozen=True)
class ImageInput:
    """How images become one input of a model.

    Attributes:
        spec: The input.
        preprocess: What the recipe says.
        channels: 1 (grey) or 3.
        layout: `nchw` or `nhwc`.
        size: Height and width in pixels; None if the model leaves them to the data.
        table: Shape (channels, 256): what each 8-bit value becomes.
    """

    spec: InputSpec
    preprocess: Preprocessing
    channels: int
    layout: str
    size: Size | None
    table: Array

    def from_image(self, image: Image.Image, label: str) -> Array:
        """Return the input made of an 8-bit RGB or grey image, with a first axis of length 1.

        Raises:
            DataError: Its size cannot be made the input's.
        """
        import numpy as np

        if self.channels == 1 or self.preprocess.color == "gray":
            image = image.convert("L")
        else:
            image = image.convert("RGB")
        if (image.height, image.width) != self.size:
            image = resized(image, self.preprocess, self.size, label)
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        if self.preprocess.color == "bgr":
            pixels = pixels[:, :, ::-1]
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], self.channels))
        planes = np.stack([self.table[c][pixels[:, :, c]] for c in range(self.channels)])
        return (planes if self.layout == "nchw" else np.moveaxis(planes, 0, 2))[None]

    def from_pixels(self, pixels: Array, label: str) -> Array:
        """Return the input made of an array of shape (height, width, 1 or 3) of RGB or grey bytes.

        An array of the input's size is not resized; where the model leaves the size open, none is.

        Raises:
            DataError: Its size cannot be made the input's.
        """
        import numpy as np
        from PIL import Image

        image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        own = self if self.size is not None else self.with_size(pixels.shape[:2])
        return own.from_image(image, label)

    def with_size(self, size: Size) -> ImageInput:
        """Return the same for another size."""
        from dataclasses import replace

        return replace(self, size=size)


def image_input(spec: InputSpec, preprocess: Preprocessing | None, label: str) -> ImageInput:
    """Return how images become the input `spec`.

    Raises:
        DataError: The input is no image, its layout is unclear, or `preprocess` is missing or does not fit.
    """
    if preprocess is None:
        raise DataError(
            f"{label}: images, but nothing says how they become the input {spec}",
            hint=f"Set preprocess: (or --preprocess) to one of {', '.join(PRESETS)}, or to a mapping.",
        )
    layout = _layout(spec, preprocess, label)
    channel_axis, height_axis, width_axis = LAYOUTS[layout]
    dims = spec.dims or (None,) * 4
    channels = dims[channel_axis] or (1 if preprocess.color == "gray" else 3)
    size = _size(spec, (dims[height_axis], dims[width_axis]), preprocess)
    return ImageInput(spec, preprocess, channels, layout, size, _table(spec, preprocess, channels))


def channel_layout(spec: InputSpec) -> str | None:
    """Return the layout whose channel axis has 1, 3 or 4 entries (`nchw` if both have), else None."""
    if spec.dims is None or len(spec.dims) != 4:
        return None
    return next((name for name, axes in LAYOUTS.items() if spec.dims[axes[0]] in (1, 3, 4)), None)


def resized(image: Image.Image, preprocess: Preprocessing, size: Size | None, label: str) -> Image.Image:
    """Return the image cut and resized as `preprocess` says, for an input of `size` (height, width).

    Raises:
        DataError: The result does not have that size, or a relative size is asked for and `size` is None.
    """
    resize, crop = preprocess.resize, preprocess.crop
    if isinstance(crop, float):
        image = _cut(image, _largest(image, size, crop))
    height_width = _resize_to(image, resize, size, label)
    if height_width is not None:
        image = image.resize(height_width[::-1], _bilinear())
    cut = {"none": None, "input": size}.get(crop) if isinstance(crop, str) else _absolute(crop)
    if cut is not None:
        if cut[0] > image.height or cut[1] > image.width:
            raise _wrong_size(image, cut, label)
        image = _cut(image, cut)
    if size is not None and (image.height, image.width) != size:
        raise _wrong_size(image, size, label)
    return image


def _wrong_size(image: Image.Image, size: Size, label: str) -> DataError:
    return DataError(
        f"{label}: preprocessing gives {image.height}×{image.width} pixels (height × width),"
        f" {size[0]}×{size[1]} are needed",
        hint="Set resize: input, or a larger resize and crop: input.",
    )


def _resize_to(image: Image.Image, resize: str | float | Size, size: Size | None, label: str) -> Size | None:
    """Return the height and width to resize to, None to leave it; the long side is rounded down."""
    if isinstance(resize, tuple):
        return resize
    if isinstance(resize, str):
        return size if resize == "input" else None
    if isinstance(resize, int):
        cover = (resize, resize)
    elif size is None:
        raise DataError(
            f"{label}: 'resize' is a multiple of the input's size, which the model leaves open",
            hint="Give the size: --shape INPUT=1x3x224x224.",
        )
    else:
        cover = (round(size[0] * resize), round(size[1] * resize))
    if cover[0] * image.width >= cover[1] * image.height:
        return cover[0], max(cover[1], cover[0] * image.width // image.height)
    return max(cover[0], cover[1] * image.height // image.width), cover[1]


def _absolute(crop: int | float | Size) -> Size | None:
    if isinstance(crop, float):
        return None
    return (crop, crop) if isinstance(crop, int) else crop


def _largest(image: Image.Image, size: Size | None, fraction: float) -> Size:
    """Return `fraction` of the largest size in the image with the proportions of `size` (None: square)."""
    height, width = size or (1, 1)
    scale = min(image.height / height, image.width / width) * fraction
    return max(1, round(height * scale)), max(1, round(width * scale))


def _cut(image: Image.Image, size: Size) -> Image.Image:
    top, left = round((image.height - size[0]) / 2), round((image.width - size[1]) / 2)
    return image.crop((left, top, left + size[1], top + size[0]))


def _bilinear() -> Image.Resampling:
    from PIL import Image

    return Image.Resampling.BILINEAR


def _layout(spec: InputSpec, preprocess: Preprocessing, label: str) -> str:
    if spec.dims is not None and len(spec.dims) != 4:
        raise DataError(
            f"{label}: images, but the input {spec} is not one (that has 4 dimensions)",
            hint="Give arrays of the input's shape instead.",
        )
    layout = channel_layout(spec) if preprocess.layout == "auto" else preprocess.layout
    if layout is None:
        raise DataError(
            f"{label}: cannot tell which dimension of the input {spec} holds the channels",
            hint="Use a preprocess mapping with layout: nchw or nhwc, or give --shape INPUT=1x3x224x224.",
        )
    channels = None if spec.dims is None else spec.dims[LAYOUTS[layout][0]]
    if channels is not None and channels not in IMAGE_CHANNELS:
        raise DataError(
            f"{label}: the input {spec} takes {channels} channels ({layout}); images have 1 or 3",
            hint="Give arrays of the input's shape instead, or set layout: in a preprocess mapping.",
        )
    return layout


def _size(spec: InputSpec, dims: tuple[int | None, int | None], preprocess: Preprocessing) -> Size | None:
    given = preprocess.size()
    if given is not None and any(d not in (None, g) for d, g in zip(dims, given, strict=True)):
        raise DataError(
            f"preprocess makes images of {given[0]}×{given[1]} pixels; the input {spec} does not take them",
            hint="Leave 'crop' and 'resize' relative to the input: resize: input, or crop: input.",
        )
    height, width = dims
    return given if height is None or width is None else (height, width)


def _table(spec: InputSpec, preprocess: Preprocessing, channels: int) -> Array:
    import numpy as np

    if preprocess.dtype not in ("auto", str(spec.dtype)):
        raise DataError(f"preprocess makes {preprocess.dtype}; the input {spec} takes {spec.dtype}")
    mean, std = np.atleast_1d(preprocess.mean), np.atleast_1d(preprocess.std)
    if channels == 1 and max(mean.size, std.size) > 1:
        raise DataError(
            f"preprocess has a mean or std for each of three channels; the input {spec} is grey",
            hint="Give one number each, for example: preprocess: {scale: 255, mean: 0.45, std: 0.226}.",
        )
    values = (np.arange(256.0) / preprocess.scale - mean[:, None]) / std[:, None]
    table = np.broadcast_to(values, (channels, 256)).astype(spec.dtype)
    if spec.dtype.kind in "iu" and not np.array_equal(table, np.broadcast_to(values, table.shape)):
        raise DataError(
            f"preprocess makes fractions or numbers below 0; the input {spec} takes {spec.dtype}",
            hint="Use preprocess: raw.",
        )
    return table
