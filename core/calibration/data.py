"""Calibration samples: where they come from, read lazily and never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from onnx_pare.errors import DataError
from onnx_pare.graph.session import Feeds

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.array_sets import Piece
    from onnx_pare.calibration.inputs import ModelInputs
    from onnx_pare.calibration.preprocess import Preprocessing

ACCEPTED = "a folder of images, an .npz, an .npy or a folder of them, or ONNX test_data_set_* folders"


class Samples(Protocol):
    """A repeatable stream of model inputs.

    Attributes:
        source: Where they come from, for the report (`images/`, or `synthetic (seed 0)`).
        random: Whether they are synthetic.
        warnings: What was left out, in sentences.
    """

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def random(self) -> bool: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __iter__(self) -> Iterator[Feeds]:
        """Yield feeds by input name, each holding one batch of the size the model takes (1 if it is free)."""
        ...

    def batches(self, size: int = 1) -> Iterator[tuple[Feeds, int]]:
        """Yield feeds of up to `size` samples (exactly the model's own batch if fixed), and how many."""
        ...

    def part(self, start: int, stop: int) -> Samples:
        """Return the samples from `start` to before `stop`."""
        ...

    def apart(self, count: int) -> tuple[Samples, Samples]:
        """Return the samples without `count` of them, and those: spread out, as neighbours may be alike."""
        ...

    def held(self, limit_bytes: int) -> Samples:
        """Return the samples read into memory, where they take at most so much; else as they are."""
        ...


def open_samples(
    path: Path,
    model: ir.Model,
    *,
    preprocess: Preprocessing | None = None,
    limit: int | None = None,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Samples:
    """Open calibration data; what is wrong with it is found here or, where that is not cheap, on reading.

    Args:
        path: A folder of images (also in folders within), an `.npz` or `.npy` file, a folder of `.npy` files,
            an ONNX test data set or a folder of them, or a single image. An `.npz` may leave out the model's
            states (`states.find_states`).
        model: The model to feed.
        preprocess: How images become the model's input.
        limit: Use this many samples at most, drawn by `seed` and kept in order.
        seed: See `limit`.
        shapes: Sizes of the model's free dimensions, by input name.

    Raises:
        DataError: The data is missing, damaged, empty, or does not fit the model.
    """
    from onnx_pare.calibration.array_sets import array_stream
    from onnx_pare.calibration.images import image_stream
    from onnx_pare.calibration.inputs import model_inputs
    from onnx_pare.calibration.stream import subset

    path = Path(path)
    check_readable(path)
    inputs = model_inputs(model, shapes)
    images = _images(path)
    if images is not None:
        chosen = subset(len(images), limit, seed)
        return image_stream(str(path), [images[index] for index in chosen], inputs, preprocess)[0]
    if path.suffix.lower() == ".npz" and path.is_file():
        return _npz(path, model, inputs, preprocess, limit, seed)
    pieces = _pieces(path, inputs, preprocess)
    chosen = subset(sum(piece.count for piece in pieces), limit, seed)
    return array_stream(str(path), pieces, inputs, chosen)


def _npz(
    path: Path,
    model: ir.Model,
    inputs: ModelInputs,
    preprocess: Preprocessing | None,
    limit: int | None,
    seed: int,
) -> Samples:
    """Open an `.npz`; states of the model that it leaves out are carried from each sample to the next."""
    from onnx_pare.calibration.array_sets import array_stream, npz_piece
    from onnx_pare.calibration.arrays import open_npz
    from onnx_pare.calibration.sequences import carry
    from onnx_pare.calibration.states import find_states
    from onnx_pare.calibration.stream import stretch, subset

    given = open_npz(path)
    states = [state for state in find_states(model) if state.input not in given]
    fed = inputs.without({state.input for state in states})
    piece, warnings = npz_piece(path, fed, preprocess)
    if not states:
        return array_stream(str(path), [piece], inputs, subset(piece.count, limit, seed), warnings)
    names = ", ".join(f"'{state.input}'" for state in states)
    said = f"{path}: nothing for the state {names}: it starts at zero and is carried from sample to sample"
    chosen = stretch(piece.count, limit, seed)
    stream = array_stream(str(path), [piece], fed, chosen, (*warnings, said))
    return carry(stream, inputs, states, model, None)


def check_readable(path: Path) -> None:
    """Find out whether there is anything to read at `path`.

    Raises:
        DataError: It is missing, cannot be read, or is empty.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", hint=f"Calibration data is {ACCEPTED}.")
    try:
        empty = not any(path.iterdir()) if path.is_dir() else not path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if empty:
        raise DataError(f"{path}: the {'folder' if path.is_dir() else 'file'} is empty")


def _images(path: Path) -> list[Path] | None:
    """Return the images at `path`, None if there are other samples.

    Raises:
        DataError: There are images and `.npy` files.
    """
    from onnx_pare.calibration.array_sets import find_test_sets
    from onnx_pare.calibration.decode import SUFFIXES
    from onnx_pare.calibration.images import find_images

    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else None
    images = find_images(path)
    if not images or find_test_sets(path):
        return None
    array = next(path.rglob("*.npy"), None)
    if array is not None:
        raise DataError(
            f"{path}: holds images ({images[0].name}) and arrays ({array.name})",
            hint="Keep one kind in a folder, and give that folder.",
        )
    return images


def _pieces(path: Path, inputs: ModelInputs, preprocess: Preprocessing | None) -> list[Piece]:
    from onnx_pare.calibration import array_sets
    from onnx_pare.calibration.arrays import open_npy

    if path.is_file():
        if path.suffix.lower() != ".npy":
            raise DataError(f"{path}: not a known kind of data", hint=f"Calibration data is {ACCEPTED}.")
        array = open_npy(path)
        if len(inputs.names) > 1:
            return [array_sets.fit_piece(str(path), {}, inputs, preprocess)]
        return [array_sets.fit_piece(str(path), {inputs.names[0]: array}, inputs, preprocess)]
    test_sets = array_sets.find_test_sets(path)
    if test_sets:
        return array_sets.test_set_pieces(test_sets, inputs, preprocess)
    if next(path.rglob("*.npy"), None) is None:
        raise DataError(f"{path}: holds no images, .npy files or test data sets", hint=_folder_hint(path))
    return array_sets.npy_pieces(path, inputs, preprocess)


def _folder_hint(path: Path) -> str:
    archive = next(path.glob("*.npz"), None)
    return f"Give the file itself: {archive}." if archive else f"Calibration data is {ACCEPTED}."
