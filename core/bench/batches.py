"""Batches of samples, and the outputs expected for them, cut where there are enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from onnx_pare.graph.session import Feeds

# feeds, and the samples that count in them
Batch = tuple[Feeds, int]
# these, and the reference's outputs
Expected = tuple[Feeds, int, list[Any]]


def as_many(samples: Iterator[Expected], limit_bytes: int) -> list[Expected]:
    """Return the first samples, until their inputs and outputs hold `limit_bytes`."""
    block, size_bytes = [], 0
    for sample in samples:
        block.append(sample)
        feeds, _, outputs = sample
        size_bytes += bytes_of(feeds.values()) + bytes_of(outputs)
        if size_bytes >= limit_bytes:
            break
    return block


def bytes_of(values: Iterable[Any]) -> int:
    """Return the size of arrays; what is none counts as 64 KiB."""
    return sum(value.nbytes if isinstance(value, np.ndarray) else 1 << 16 for value in values)


def limited(batches: Iterable[Batch], limit: int) -> Iterator[Batch]:
    """Yield batches until `limit` samples; of the last one, fewer count."""
    if limit < 1:
        return
    for feeds, count in batches:
        yield feeds, min(count, limit)
        limit -= count
        if limit <= 0:
            return
