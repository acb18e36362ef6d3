"""What the outputs of a model mean: which axis is the batch, and which output names classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_pare.graph.session import Feeds

Array = NDArray[Any]


def fed_rows(feeds: Feeds) -> int | None:
    """Return the batch fed: the first dimension of the first input that has one; None if all are scalars."""
    return next((feed.shape[0] for feed in feeds.values() if feed.ndim), None)


def has_rows(output: Any, rows: int | None) -> bool:
    """Return whether the output is a tensor whose first axis is as long as the batch fed."""
    return isinstance(output, np.ndarray) and output.ndim > 0 and output.shape[0] == rows


def real_rows(output: Any, rows: int | None, count: int) -> Any:
    """Return the output without the rows of padding.

    An output whose first axis is as long as the batch fed (`rows`) is taken to have the batch there; of it
    the first `count` rows count. Any other output, also one that is no tensor, is returned whole.
    """
    return output[:count] if has_rows(output, rows) else output


def is_float(output: Array) -> bool:
    """Return whether the output holds floating-point numbers."""
    return bool(np.issubdtype(output.dtype, np.floating))


def class_scores(output: Any, rows: int | None) -> Array | None:
    """Return scores of shape (rows, classes) if the output looks like a classifier's, else None.

    It does if it is of a float type and has shape (rows, C) or (rows, C, 1, 1) with C >= 2. `rows` is the
    batch that was fed, so that a list of boxes, shape (boxes, 4), is not taken for scores.
    """
    if not isinstance(output, np.ndarray) or not is_float(output):
        return None
    if output.ndim == 4 and output.shape[2:] == (1, 1):
        output = output[:, :, 0, 0]
    return output if output.ndim == 2 and output.shape[0] == rows and output.shape[1] >= 2 else None


def class_output(outputs: Sequence[Any], rows: int | None) -> int | None:
    """Return the position of the first output that `class_scores` takes for a classifier's, else None."""
    found = (index for index, output in enumerate(outputs) if class_scores(output, rows) is not None)
    return next(found, None)


def top1(scores: Array) -> NDArray[np.int64]:
    """Return the class with the highest score of every row, -1 for a row that holds NaN."""
    found: NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
    found[np.isnan(scores).any(axis=1)] = -1
    return found
