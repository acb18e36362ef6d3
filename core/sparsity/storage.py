"""How small weights with zeros can be stored."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnx_pare.sparsity.prunable import Weight

if TYPE_CHECKING:
    from collections.abc import Iterable

# above this, compressing the weights to see their size would take longer than everything else
COMPRESS_LIMIT_BYTES = 256 << 20
POINTER_BYTES = 4


def compressed_bytes(weights: Sequence[Weight]) -> int | None:
    """Return the size of all weights as Deflate packs them, in bytes; None if they are too many to try."""
    if sum(weight.read().nbytes for weight in weights) > COMPRESS_LIMIT_BYTES:
        return None
    packer = zlib.compressobj(1)
    size = sum(len(packer.compress(weight.read().tobytes())) for weight in weights)
    return size + len(packer.flush()) if weights else 0


def sparse_bytes(weights: Iterable[Weight], block: tuple[int, int] = (1, 1)) -> int:
    """Return the size of all weights in compressed sparse rows, in bytes.

    Kept are the blocks that are not all zero, the column of each (2 bytes up to 65,536 columns, else 4), and
    where each row of blocks starts (4 bytes).
    """
    import numpy as np

    rows, columns = block
    total = 0
    for weight in weights:
        matrix = weight.to_matrix(weight.read())
        starts = np.arange(0, matrix.shape[0], rows), np.arange(0, matrix.shape[1], columns)
        counts = np.add.reduceat(
            np.add.reduceat(matrix != 0, starts[0], axis=0, dtype=np.int32), starts[1], 1
        )
        index_bytes = 2 if matrix.shape[1] <= 1 << 16 else 4
        kept = int(np.count_nonzero(counts))
        total += (
            kept * (rows * columns * matrix.itemsize + index_bytes) + (len(starts[0]) + 1) * POINTER_BYTES
        )
    return total
