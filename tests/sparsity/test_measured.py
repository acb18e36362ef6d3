"""The kinds of entries: what each writes, and what it tells."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.sparsity.counting import ZeroCounter
from onnx_pare.sparsity.measured import Activation, Bend, Entry, Layer
from onnx_pare.sparsity.metadata import read_input, read_negatives, read_zeros


def node() -> ir.Node:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    return next(iter(ir.from_onnx_text(text).graph))


def counter(*, below: bool = False) -> ZeroCounter:
    made = ZeroCounter(below=below)
    made.update(np.array([[0, 1, -1, -2]], np.float32))
    return made


@pytest.mark.parametrize(
    ("entry", "fraction", "key"),
    [
        (Activation(node(), counter()), 0.25, "zero_fraction"),
        (Bend(node(), counter(below=True)), 0.5, "negative_fraction"),
        (Layer(node(), counter(), 3), 0.25, "input_zero_fraction"),
    ],
)
def test_what_is_written_is_what_is_told(entry: Entry, fraction: float, key: str) -> None:
    assert entry.write(1)
    assert not entry.write(1)
    assert entry.facts(1)[key] == fraction
    read = {
        "zero_fraction": read_zeros(entry.node),
        "negative_fraction": read_negatives(entry.node),
        "input_zero_fraction": read_input(entry.node, 3),
    }
    assert [name for name, share in read.items() if share is not None] == [key]
