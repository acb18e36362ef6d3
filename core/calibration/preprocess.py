"""How a decoded image becomes a model's input: the recipe's `preprocess`, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

Pixels = Annotated[int, Field(ge=2, strict=True)]
HeightWidth = tuple[Pixels, Pixels]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
Numbers = tuple[Number, Number, Number]
Positives = tuple[Positive, Positive, Positive]
InputMultiple = Annotated[float, Field(strict=True, gt=0, le=4)]
Fraction = Annotated[float, Field(strict=True, gt=0, le=1)]

ACCEPTED = {
    "resize": "'input', 'none', a whole number (pixels of the short side), [height, width], or a number up to"
    " 4 with a decimal point (a multiple of the input's size, such as 1.143)",
    "crop": "'input', 'none', a whole number of pixels, [height, width], or a fraction up to 1 of the"
    " image, such as 0.875",
    "scale": "a number from 1 up, by which pixels are divided: 255 for x/255",
    "mean": "a number, or three (one per channel, in the order of 'color')",
    "std": "a number above 0, or three (one per channel, in the order of 'color')",
}


class Preprocessing(BaseModel):
    """From an 8-bit RGB image to a model's input: cut and resize, then `(x / scale - mean) / std`.

    A `crop` that is a fraction is cut out before resizing: the centre, with the input's proportions, that
    fraction of the largest such cut. Any other `crop` comes after it. Resizing is bilinear with antialiasing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    color: Literal["rgb", "bgr", "gray"] = Field(default="rgb", description="Order of the channels.")
    resize: Literal["input", "none"] | Pixels | InputMultiple | HeightWidth = Field(
        default="input",
        description="'input': stretch to the input's height and width. A whole number: pixels of the short"
        " side; a number with a decimal point: just cover that multiple of the input's size; both keep the"
        " proportions. [height, width]: stretch to that. 'none': leave.",
    )
    crop: Literal["input", "none"] | Pixels | Fraction | HeightWidth = Field(
        default="none",
        description="Centre cut. 'input': the input's size, a whole number or [height, width]: that size, all"
        " after resizing. A fraction: that part of the image, before resizing.",
    )
    scale: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=1)] = Field(
        default=1.0, description="Pixels (0..255) are divided by it."
    )
    mean: Number | Numbers = Field(
        default=0.0, description="Subtracted after scaling; one, or one per channel."
    )
    std: Positive | Positives = Field(
        default=1.0, description="Divides last; one number, or one per channel."
    )
    layout: Literal["auto", "nchw", "nhwc"] = Field(
        default="auto", description="'auto': read off the model's input."
    )
    dtype: Literal["auto", "float32", "float16", "uint8"] = Field(
        default="auto", description="'auto': that of the model's input."
    )

    @field_validator(*ACCEPTED, mode="wrap")
    @classmethod
    def _say_what_is_accepted(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: Any
    ) -> Any:  # a union's own message lists every branch
        try:
            return handler(tuple(value) if isinstance(value, list) else value)
        except ValidationError:
            raise ValueError(f"must be {ACCEPTED[info.field_name]}; got {value!r}") from None

    def size(self) -> tuple[int, int] | None:
        """Return the height and width in pixels that the keys themselves fix, or None."""
        if isinstance(self.crop, int):
            return self.crop, self.crop
        if isinstance(self.crop, tuple):
            return self.crop
        if self.crop == "none" and isinstance(self.resize, tuple):
            return self.resize
        return None


_COVER_THEN_CUT: dict[str, Any] = {"resize": 256 / 224, "crop": "input"}

PRESETS: Mapping[str, Preprocessing] = MappingProxyType(
    {
        "imagenet": Preprocessing(
            scale=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), **_COVER_THEN_CUT
        ),
        "imagenet-tf": Preprocessing(resize="input", crop=0.875, scale=127.5, mean=1.0),
        "caffe": Preprocessing(color="bgr", mean=(103.939, 116.779, 123.68), **_COVER_THEN_CUT),
        "unit": Preprocessing(scale=255),
        "signed": Preprocessing(scale=127.5, mean=1.0),
        "raw": Preprocessing(),
    }
)
