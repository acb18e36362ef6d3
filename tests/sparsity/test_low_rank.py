from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import Names
from onnx_pare.sparsity.layers import layer_of
from onnx_pare.sparsity.low_rank import LowRank, Product
from onnx_pare.sparsity.normal_equations import NormalEquations
from onnx_pare.sparsity.substitution import bias_of
from tests.conftest import with_weights
from tests.sparsity.nets import error

LAYERS = {
    "Gemm": ("float[N, 8] x, float[8, 6] w, float[6] b", "Gemm (x, w, b)", {"w": (8, 6), "b": (6,)}),
    "Gemm, transposed": ("float[N, 8] x, float[6, 8] w", "Gemm <transB = 1> (x, w)", {"w": (6, 8)}),
    "MatMul": ("float[N, 3, 8] x, float[8, 6] w", "MatMul (x, w)", {"w": (8, 6)}),
    "Conv": (
        "float[N, 8, 5, 5] x, float[6, 8, 1, 1] w, float[6] b",
        "Conv <strides = [2, 2], pads = [1, 0, 0, 1]> (x, w, b)",
        {"w": (6, 8, 1, 1), "b": (6,)},
    ),
}


def model_of(name: str) -> ir.Model:
    inputs, call, shapes = LAYERS[name]
    model = with_weights(f"g ({inputs}) => (float[n] y) {{ [one] y = {call} }}", **shapes)
    model.graph.outputs[0].shape = None
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_a_full_rank_computes_the_same(name: str, tmp_path: Path):
    original, model = model_of(name), model_of(name)
    layer, kind = layer_of(model.graph[0]), LowRank()
    assert layer is not None
    assert kind.refuses(layer) == ""
    kind.emit(layer, kind.decompose(layer, 6), bias_of(layer), Names(model))
    assert len(list(model.graph)) == 2
    assert error(model, original, tmp_path) < 1e-10
    assert "w" not in model.graph.initializers


def test_no_other_product_of_the_rank_is_nearer():
    """Alternating least squares from anywhere ends no lower than the closed form."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 8))
    x = rng.normal(size=(4000, 8)) @ rng.normal(size=(8, 8))
    equations = NormalEquations(Window(), 1)
    equations.add(x[None], (x @ weights.T)[None])
    given = equations.statistics()
    model = model_of("Gemm, transposed")
    layer = layer_of(model.graph[0])
    assert layer is not None
    best = float(given.error(LowRank().fit(given, layer, 2).dense()[None]).sum())
    for seed in range(4):
        right = np.random.default_rng(seed).normal(size=(2, 8))
        for _ in range(60):
            inner = right @ given.xx[0] @ right.T
            left = np.linalg.solve(inner, right @ given.xy[0]).T
            right = np.linalg.solve(left.T @ left, left.T @ weights)
        other = float(given.error(Product(left, right).dense()[None]).sum())
        assert best <= other * (1 + 1e-4)


def test_ranks_are_cheaper_than_the_layer():
    wide = with_weights(
        "g (float[N, 512] x, float[512, 256] w) => (float[N, 256] y) { y = MatMul (x, w) }", w=(512, 256)
    )
    layer = layer_of(wide.graph[0])
    assert layer is not None
    ranks = LowRank().ranks(layer)
    assert ranks
    assert all(rank % 8 == 0 and LowRank().macs(layer, rank) < 512 * 256 for rank in ranks)
    narrow = layer_of(model_of("MatMul").graph[0])
    assert narrow is not None
    assert all(LowRank().macs(narrow, rank) < 48 for rank in LowRank().ranks(narrow))
