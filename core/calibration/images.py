"""Folders of images as samples, decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.decode import SUFFIXES, DecodeError, decode, undecodable
from onnx_pare.calibration.image_input import ImageInput, image_input
from onnx_pare.calibration.inputs import ModelInputs
from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.calibration.stream import Stream
from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

NAMED_AT_MOST = 5


@dataclass(frozen=True)
class ImageFiles:
    """Image files that decode, read again for every pass over them.

    Attributes:
        files: The files, in order.
        input: How they become the model's input.
    """

    files: tuple[Path, ...]
    input: ImageInput

    def __call__(self) -> Iterator[Feeds]:
        """Yield each image as feeds of one sample."""
        for file in self.files:
            yield {self.input.spec.name: _sample(file, self.input)}


def find_images(folder: Path) -> list[Path]:
    """Return the image files in the folder and all folders in it, sorted; hidden ones are left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )


def image_stream(
    source: str, files: Sequence[Path], inputs: ModelInputs, preprocess: Preprocessing | None
) -> tuple[Stream, list[int]]:
    """Return the images as samples, and the positions in `files` of those that decode.

    Raises:
        DataError: None decodes, or the model or `preprocess` does not fit images.
    """
    if len(inputs.specs) != 1:
        raise DataError(
            f"{source}: images feed one input, the model has {len(inputs.specs)}: {', '.join(inputs.names)}",
            hint="Give an .npz with one array for each input, or test_data_set_* folders.",
        )
    target = image_input(inputs.specs[0], preprocess, source)
    bad = undecodable(files)
    good = [index for index in range(len(files)) if index not in bad]
    if not good:
        raise DataError(f"{source}: {_listed(files, bad)}", hint="Check that the copy is complete.")
    _sample(files[good[0]], target)
    warnings = (f"{source}: {_listed(files, bad)}; left out",) if bad else ()
    reader = ImageFiles(tuple(files[index] for index in good), target)
    return Stream(source, False, inputs, len(good), reader, warnings), good


def _sample(file: Path, target: ImageInput) -> Array:
    try:
        return target.from_image(decode(file), str(file))
    except DecodeError as error:
        raise DataError(f"{file}: does not decode any more: {error}") from error


def _listed(files: Sequence[Path], bad: dict[int, str]) -> str:
    named = ", ".join(
        f"{files[index].name} ({reason})" for index, reason in list(bad.items())[:NAMED_AT_MOST]
    )
    more = f" and {len(bad) - NAMED_AT_MOST} more" if len(bad) > NAMED_AT_MOST else ""
    return f"{len(bad)} of {len(files)} images do not decode: {named}{more}"
