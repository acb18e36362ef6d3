from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_pare.graph.edit import constant
from onnx_pare.quantization.saturation import layers_at_risk, may_saturate, saturating_product

from .conftest import with_weights

Array = np.ndarray[Any, Any]


def layer() -> ir.Model:
    """Return a layer of large positive inputs and weights."""
    model = with_weights(
        "g (float[4, 16] x, float[16, 8] w) => (float[4, 8] y) { s = Sigmoid(x) y = MatMul(s, w) }", w=(16, 8)
    )
    weight = np.random.default_rng(0).uniform(0.5, 1.0, (16, 8)).astype(np.float32)
    model.graph.initializers["w"].const_value = ir.tensor(weight, name="w")
    return model


def exact(inputs: Array, weights: Array) -> Array:
    return inputs.astype(np.int32) @ weights.astype(np.int32).T


def test_pairs_of_large_products_are_cut_off_at_16_bits():
    inputs, weights = np.full((1, 4), 255, np.uint8), np.full((1, 4), 127, np.int8)
    assert saturating_product(inputs, weights).tolist() == [[2 * 32767]]
    assert saturating_product(inputs, -weights).tolist() == [[-2 * 32768]]
    assert may_saturate(weights)


def test_an_odd_last_product_is_not_cut_off():
    inputs, weights = np.full((1, 3), 255, np.uint8), np.array([[1, 1, 127]], np.int8)
    assert saturating_product(inputs, weights).tolist() == exact(inputs, weights).tolist()
    assert not may_saturate(weights)


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(0, 9), rows=st.integers(1, 4))
def test_weights_of_7_bits_never_saturate(seed: int, width: int, rows: int):
    rng = np.random.default_rng(seed)
    inputs = rng.choice([0, 1, 254, 255], (rows, width)).astype(np.uint8)
    weights = rng.choice([-64, -63, 0, 63, 64], (3, width)).astype(np.int8)
    assert not may_saturate(weights)
    np.testing.assert_array_equal(saturating_product(inputs, weights), exact(inputs, weights))


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 9))
def test_risk_is_told_exactly(seed: int, width: int):
    """The worst inputs for a pair are 255 where the weights have one sign, 0 elsewhere."""
    weights = np.random.default_rng(seed).integers(-127, 128, (3, width)).astype(np.int8)
    worst = np.concatenate([255 * (weights > 0), 255 * (weights < 0)]).astype(np.uint8)
    differs = bool((saturating_product(worst, weights) != exact(worst, weights)).any())
    assert may_saturate(weights) == differs


def emulated_db(model: ir.Model) -> float:
    """Return the SQNR of the quantized layer through the saturating kernel, on inputs of its own range."""
    matmul = next(node for node in model.graph if node.op_type == "MatMul")
    data, weight = (value.producer() for value in matmul.inputs if value is not None)
    assert data is not None
    assert weight is not None
    scale, zero = constant(data.inputs[1]), constant(data.inputs[2])
    integers, scales = constant(weight.inputs[0]), constant(weight.inputs[1])
    assert scale is not None
    assert zero is not None
    assert integers is not None
    assert scales is not None
    x = 1 / (1 + np.exp(-np.random.default_rng(1).normal(size=(64, 16))))
    held = np.clip(np.round(x / scale) + zero, 0, 255).astype(np.uint8)
    sums = saturating_product(held, integers.T) - int(zero) * integers.astype(np.int32).sum(axis=0)
    original = constant(layer().graph.initializers["w"])
    assert original is not None
    expected = x @ original
    return float(10 * np.log10(np.square(expected).sum() / np.square(sums * scale * scales - expected).sum()))


def test_reduced_range_is_better_where_kernels_saturate(quantized: Callable[..., ir.Model]):
    full, reduced = (quantized(layer(), reduce_range=on, correct_bias=False) for on in (False, True))
    assert (layers_at_risk(full), layers_at_risk(reduced)) == (1, 0)
    assert emulated_db(reduced) > emulated_db(full) + 10


@pytest.mark.parametrize("weight", [(8, 3, 3, 3), (8, 3, 1, 1)])
def test_layers_at_risk_looks_along_the_inputs_of_a_convolution(
    weight: tuple[int, ...], quantized: Callable[..., ir.Model]
):
    model = with_weights(
        "g (float[1, 3, 8, 8] x, float[8, 3, k, k] w) => (float[1, 8, p, p] y) { y = Conv(x, w) }", w=weight
    )
    model.graph.initializers["w"].const_value = ir.tensor(np.ones(weight, np.float32), name="w")
    assert layers_at_risk(model) == 0
    assert layers_at_risk(quantized(model, reduce_range=False)) == 1
    assert layers_at_risk(quantized(model, reduce_range=True)) == 0
