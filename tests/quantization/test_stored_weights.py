from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.edit import Names
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.quantization.levels import levels_of
from onnx_pare.quantization.stored_weights import Layout, per_output_axis, write_cast, write_dequantize
from onnx_pare.quantization.weight_only import quantize_matrix

SHAPES = {
    "conv": ((6, 5, 3, 3), (0, 1, 2, 3), 1),
    "conv transpose": ((5, 6, 3, 3), (1, 0, 2, 3), 1),
    "matmul": ((40, 6), (1, 0), 1),
    "gemm": ((6, 40), (0, 1), 1),
    "recurrent": ((2, 12, 20), (0, 1, 2), 2),
    "batched": ((3, 20, 4), (0, 2, 1), 2),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_a_layout_undoes_itself(kind: str) -> None:
    layout = Layout(*SHAPES[kind])
    weight = np.random.default_rng(0).normal(size=layout.shape).astype(np.float32)
    matrix = layout.flatten(weight)
    assert matrix.shape == layout.matrix
    np.testing.assert_array_equal(layout.unflatten(matrix), weight)
    peaks = layout.per_output(np.abs(matrix).max(axis=1))
    assert (np.abs(weight) <= peaks).all()


def test_the_axis_that_counts_outputs() -> None:
    assert per_output_axis(Layout(*SHAPES["matmul"])) == 1
    assert per_output_axis(Layout(*SHAPES["recurrent"])) is None
    assert per_output_axis(Layout((1, 12, 20), (0, 1, 2), 2)) == 1


@pytest.mark.parametrize(
    "write", [partial(write_cast, tables={}), write_dequantize], ids=["cast", "dequantize"]
)
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [7, None])
def test_what_is_restored(
    write: Callable[..., int], kind: str, bits: int, block: int | None, tmp_path: Path
) -> None:
    """The model hands out the weight times one; its file holds `bits` for each element."""
    layout, levels = Layout(*SHAPES[kind]), levels_of("uniform", bits)
    weight = np.random.default_rng(0).normal(size=layout.shape).astype(np.float32)
    text = f'<ir_version: 10, opset_import: ["": 21]> g (float one, float{list(layout.shape)} w) => '
    model = ir.from_onnx_text(f"{text} (float{list(layout.shape)} y) {{ y = Mul (w, one) }}")
    value = model.graph.inputs.pop()
    value.const_value = ir.tensor(weight, name="w")
    model.graph.register_initializer(value)
    found = quantize_matrix(layout.flatten(weight), levels, block or layout.matrix[1])
    size_bytes = write(value, model.graph, layout, found, levels, Names(model))
    path = tmp_path / "model.onnx"
    write_model(model, path)
    (got,) = Session(path).run({"one": np.array(1, np.float32)})
    assert np.square(got - weight).sum() == pytest.approx(found.noise, rel=1e-3)
    padding = layout.matrix[0] * (found.block if block else 0)
    assert size_bytes <= (weight.size + padding) * bits / 8 + found.scales.nbytes + 1
