"""Calibration samples: where they come from, read lazily and never all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from onnx_pare.graph.session import Feeds


class Samples(Protocol):
    """A repeatable stream of model inputs.

    Attributes:
        source: Where they come from, for the report (`images/`, or `synthetic (seed 0)`).
        random: Whether they are synthetic.
    """

    source: str
    random: bool

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __iter__(self) -> Iterator[Feeds]:
        """Yield feeds by input name, each holding one batch of the size the model takes (1 if it is free)."""
        ...

    def batches(self, size: int) -> Iterator[tuple[Feeds, int]]:
        """Yield feeds of up to `size` samples (exactly the model's own batch if that is fixed), and how many."""
        ...
