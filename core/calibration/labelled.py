"""Labelled samples of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.calibration.array_sets import LABEL_KEY, array_stream, npz_piece
from onnx_pare.calibration.arrays import open_npz
from onnx_pare.calibration.data import Samples, check_readable
from onnx_pare.calibration.images import find_images, image_stream
from onnx_pare.calibration.inputs import ModelInputs, model_inputs
from onnx_pare.calibration.preprocess import Preprocessing
from onnx_pare.calibration.stream import subset
from onnx_pare.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Labels = np.ndarray[Any, np.dtype[np.int64]]

ACCEPTED = (
    "Labelled data is an .npz with the samples under the input's name (or x) and the classes under y,"
    " or a folder with a folder of images for each class."
)


@dataclass(frozen=True)
class Labelled:
    """Samples and the classes they belong to.

    Attributes:
        samples: The samples.
        labels: Shape (number of samples,): the index of each sample's class, in the order of the samples.
        source: Where they come from.
    """

    samples: Samples
    labels: Labels
    source: str


def open_labelled(
    path: Path,
    model: ir.Model,
    *,
    preprocess: Preprocessing | None = None,
    limit: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Labelled:
    """Open labelled data: an `.npz` with `y`, or a folder with one folder of images per class.

    `y` holds class indices, or one-hot rows. Folders named by numbers are the class indices; otherwise the
    sorted names count from 0, and there must be as many as the model has classes.

    Args:
        path: The data.
        model: The classifier.
        preprocess: How images become its input.
        limit: Use this many samples at most, drawn by `seed` and kept in order.
        shapes: Sizes of the model's free dimensions, by input name.
        seed: See `limit`.

    Raises:
        DataError: There are no labels, or they do not fit the samples or the model's classes; and all that
            `open_samples` raises.
    """
    path = Path(path)
    check_readable(path)
    inputs, classes = model_inputs(model, shapes), class_count(model)
    if path.is_dir():
        return _folders(path, inputs, classes, preprocess, limit, seed)
    if path.suffix.lower() == ".npz":
        return _npz(path, inputs, classes, preprocess, limit, seed)
    raise DataError(f"{path}: holds no labels", hint=ACCEPTED)


def class_count(model: ir.Model) -> int | None:
    """Return the number of classes: the size of the first output without its first axis, None if open."""
    shape = model.graph.outputs[0].shape if model.graph.outputs else None
    sizes = [] if shape is None else [dim for dim in list(shape)[1:] if dim != 1]
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) else None


def _npz(
    path: Path,
    inputs: ModelInputs,
    classes: int | None,
    preprocess: Preprocessing | None,
    limit: int | None,
    seed: int,
) -> Labelled:
    labels = _stored_labels(path)
    piece, warnings = npz_piece(path, inputs, preprocess)
    if len(labels) != piece.count:
        raise DataError(
            f"{path}: {len(labels)} labels in '{LABEL_KEY}' for {piece.count} samples",
            hint="Store one label for each sample, in the same order.",
        )
    _check_range(path, labels, classes)
    chosen = subset(piece.count, limit, seed)
    samples = array_stream(str(path), [piece], inputs, chosen, warnings)
    return Labelled(samples, labels[list(chosen)], str(path))


def _stored_labels(path: Path) -> Labels:
    import numpy as np

    arrays = open_npz(path)
    if LABEL_KEY not in arrays:
        found = ", ".join(f"'{key}'" for key in arrays) or "nothing"
        raise DataError(f"{path}: holds no labels '{LABEL_KEY}'; found {found}", hint=ACCEPTED)
    stored = arrays[LABEL_KEY].whole()
    labels = stored[:, 0] if stored.ndim == 2 and stored.shape[1] == 1 else stored
    if labels.ndim == 2:
        labels = _from_one_hot(path, labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: '{LABEL_KEY}' has type {stored.dtype} and shape {stored.shape}",
            hint="Store class indices as integers, one for each sample.",
        )
    if not len(labels):
        raise DataError(f"{path}: '{LABEL_KEY}' is empty")
    return labels.astype(np.int64)


def _from_one_hot(path: Path, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if not np.isin(rows, (0, 1)).all() or not (rows.sum(axis=1) == 1).all():
        raise DataError(
            f"{path}: '{LABEL_KEY}' has shape {rows.shape} but is not one-hot",
            hint="Store class indices as integers, one for each sample.",
        )
    return np.asarray(np.argmax(rows, axis=1))


def _folders(
    path: Path,
    inputs: ModelInputs,
    classes: int | None,
    preprocess: Preprocessing | None,
    limit: int | None,
    seed: int,
) -> Labelled:
    import numpy as np

    found = [(file, label) for folder, label in _class_folders(path, classes) for file in find_images(folder)]
    if not found:
        raise DataError(f"{path}: there are no images in the folders of its classes", hint=ACCEPTED)
    chosen = [found[index] for index in subset(len(found), limit, seed)]
    samples, kept = image_stream(str(path), [file for file, _ in chosen], inputs, preprocess)
    labels = np.array([chosen[index][1] for index in kept], np.int64)
    _check_range(path, labels, classes)
    return Labelled(samples, labels, str(path))


def _class_folders(path: Path, classes: int | None) -> list[tuple[Path, int]]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{path}: holds no folder for each class, so there are no labels", hint=ACCEPTED)
    if all(folder.name.isdecimal() for folder in folders):
        return sorted(((folder, int(folder.name)) for folder in folders), key=lambda pair: pair[1])
    if classes is not None and len(folders) != classes:
        raise DataError(
            f"{path}: {len(folders)} class folders, but the model has {classes} classes",
            hint="Name the folders by the index of their class (0, 1, …) to say which is which.",
        )
    return [(folder, index) for index, folder in enumerate(folders)]


def _check_range(path: Path, labels: Labels, classes: int | None) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        allowed = (
            "at least 0" if classes is None else f"0 to {classes - 1}, as the model has {classes} classes"
        )
        wrong = low if low < 0 else high
        raise DataError(f"{path}: the label {wrong} is out of range; labels are {allowed}")
