"""Small models and samples for the bench tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from onnx_pare.graph.session import Feeds

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes the model `main (inputs) => (outputs) { body }` and returns its path."""

    def write_model(name: str, graph: str, opset: int = 17) -> Path:
        text = f'<ir_version: 8, opset_import: ["" : {opset}]> main {graph}'
        path = tmp_path / f"{name}.onnx"
        onnx.save(onnx.parser.parse_model(text), str(path))
        return path

    return write_model


@dataclass
class Rows:
    """Samples from an array: row i is sample i. `fixed` is the model's own batch, 0 if it is free."""

    array: np.ndarray
    name: str = "x"
    fixed: int = 0
    source: str = "rows"
    random: bool = False

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Feeds]:
        return (feeds for feeds, _ in self.batches(1))

    def batches(self, size: int = 1) -> Iterator[tuple[Feeds, int]]:
        size = self.fixed or size
        for start in range(0, len(self.array), size):
            rows = self.array[start : start + size]
            count = len(rows)
            if self.fixed and count < size:
                rows = np.concatenate([rows, np.repeat(rows[-1:], size - count, axis=0)])
            yield {self.name: rows}, count


@pytest.fixture
def rows() -> type[Rows]:
    return Rows
