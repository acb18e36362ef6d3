"""MACs that multiply no zero, held against counting them one by one in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.cost.effective import Macs
from onnx_pare.sparsity.metadata import write_input, write_zeros
from onnx_pare.sparsity.share import Share, Zeros


def sparse(rng: np.random.Generator, shape: tuple[int, ...], channel_axis: int) -> Any:
    """Return numbers of which more are zero in later channels."""
    size = shape[channel_axis]
    limits = np.linspace(0, 1, size).reshape([size if i == channel_axis else 1 for i in range(len(shape))])
    return np.where(rng.random(shape) < limits, 0, rng.normal(size=shape)).astype(np.float32)


def reads(x: Any, axis: int, slot: int = 0) -> Callable[[ir.Model], None]:
    """Return an edit that annotates the last node as the pass would for an input `x`."""
    per_channel = (x == 0).mean(axis=tuple(i for i in range(x.ndim) if i != axis))
    share = Share(float((x == 0).mean()), axis, tuple(per_channel.tolist()))
    return lambda model: write_input(list(model.graph)[-1], slot, share) and None


@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_of_a_gemm_it_is_the_exact_number(counted: Any, trans_a: int, trans_b: int) -> None:
    rng = np.random.default_rng(0)
    x, w = sparse(rng, (20, 12), 1), sparse(rng, (12, 7), 0)
    a, b = "float[12,20]" if trans_a else "float[20,12]", "float[7,12]" if trans_b else "float[12,7]"
    text = f"""g ({a} x, {b} w) => (float[a,b] y)
      {{ y = Gemm <transA = {trans_a}, transB = {trans_b}> (x, w) }}"""
    edit = reads(x.T if trans_a else x, 0 if trans_a else 1)
    cost = counted(text, {"w": w.T.copy() if trans_b else w}, edit=edit)
    kept = np.count_nonzero((x != 0)[:, :, None] & (w != 0)[None])
    assert cost.effective_macs == kept
    assert cost.work.nonzero_activation == np.count_nonzero(x) * 7
    assert cost.work.nonzero_weight == np.count_nonzero(w) * 20
    assert cost.macs == 20 * 12 * 7
    # taking zeros to be independent of the channel would be off
    assert abs(cost.macs * np.mean(x != 0) * np.mean(w != 0) - kept) > 0.1 * kept


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_of_a_pointwise_convolution_too(counted: Any, groups: int) -> None:
    rng = np.random.default_rng(1)
    x, w = sparse(rng, (2, 6, 5, 5), 1), rng.normal(size=(12, 6 // groups, 1, 1)).astype(np.float32)
    w[3:7] = 0
    w[:, -1] *= rng.random((12, 1, 1)) > 0.5
    text = f"""g (float[2,6,5,5] x, float[12,{6 // groups},1,1] w) => (float[a,b,c,d] y)
      {{ y = Conv <group = {groups}> (x, w) }}"""
    inputs, outputs = 6 // groups, 12 // groups
    kept = sum(
        np.count_nonzero(x[:, group * inputs + i]) * np.count_nonzero(w[group * outputs :][:outputs, i])
        for group in range(groups)
        for i in range(inputs)
    )
    assert counted(text, {"w": w}, edit=reads(x, 1)).effective_macs == kept


def test_of_a_transposed_convolution_too(counted: Any) -> None:
    rng = np.random.default_rng(2)
    x, w = sparse(rng, (1, 6, 5, 5), 1), sparse(rng, (6, 4, 2, 2), 0)
    text = """g (float[1,6,5,5] x, float[6,4,2,2] w) => (float[a,b,c,d] y) { y = ConvTranspose (x, w) }"""
    kept = sum(np.count_nonzero(x[:, i]) * np.count_nonzero(w[i]) for i in range(6))
    assert counted(text, {"w": w}, edit=reads(x, 1)).effective_macs == kept


def test_of_a_wide_convolution_up_to_its_borders(counted: Any) -> None:
    rng = np.random.default_rng(3)
    x, w = sparse(rng, (1, 6, 40, 40), 1), sparse(rng, (8, 6, 3, 3), 1)
    windows = np.lib.stride_tricks.sliding_window_view(x != 0, (3, 3), axis=(2, 3))
    kept = np.einsum("ncxyij,ocij->", windows.astype(np.int64), (w != 0).astype(np.int64))
    text = "g (float[1,6,40,40] x, float[8,6,3,3] w) => (float[a,b,c,d] y) { y = Conv (x, w) }"
    assert counted(text, {"w": w}, edit=reads(x, 1)).effective_macs == pytest.approx(kept, rel=0.02)


def test_weights_may_be_quantized(counted: Any) -> None:
    rng = np.random.default_rng(4)
    x, w = sparse(rng, (9, 12), 1), np.where(sparse(rng, (12, 7), 0) == 0, 3, 5).astype(np.uint8)
    text = """g (float[9,12] x, uint8[12,7] w) => (float[a,b] y) {
      s = Constant <value = float {0.5}> ()  z = Constant <value = uint8 {3}> ()
      f = DequantizeLinear (w, s, z)  y = MatMul (x, f) }"""
    kept = np.count_nonzero((x != 0)[:, :, None] & (w != 3)[None])
    assert counted(text, {"w": w}, edit=reads(x, 1)).effective_macs == kept


def test_packed_weights_are_taken_to_be_independent(counted: Any) -> None:
    packed = np.full((3, 1, 16), 0x88, np.uint8)
    packed[:, :, :4] = 0x79
    text = """g (float[2,32] x, uint8[3,1,16] w, float[3] s) => (float[2,3] y)
      { y = com.microsoft.MatMulNBits <K = 32, N = 3, bits = 4, block_size = 32> (x, w, s) }"""
    x = np.ones((2, 32), np.float32)
    x[:, 8:] = 0
    weights = {"w": packed, "s": np.ones(3, np.float32)}
    cost = counted(text, weights, edit=reads(x, 1))
    assert (cost.macs, cost.work.nonzero_weight, cost.effective_macs) == (192, 48, 12)


def test_zeros_of_two_activations_meet(counted: Any) -> None:
    rng = np.random.default_rng(5)
    a, b = sparse(rng, (9, 12), 1), sparse(rng, (12, 7), 0)

    def annotate(model: ir.Model) -> None:
        reads(a, 1)(model)
        reads(b, 0, slot=1)(model)

    text = "g (float[9,12] x, float[12,7] z) => (float[a,b] y) { y = MatMul (x, z) }"
    cost = counted(text, edit=annotate)
    expected = (np.count_nonzero(a, axis=0) * np.count_nonzero(b, axis=1)).sum()
    assert cost.effective_macs == cost.work.nonzero_activation == expected
    zeros = max(float((a == 0).mean()), float((b == 0).mean()))
    assert cost.rows[0].input_zero_fraction == pytest.approx(zeros, abs=1e-6)


def test_what_is_known_of_other_channels_leaves_the_mean(counted: Any) -> None:
    x, w = np.zeros((1, 5), np.float32), np.ones((4, 4), np.float32)
    w[:2] = 0
    x[:, :4] = 1
    text = "g (float[2,4] x, float[4,4] w) => (float[a,b] y) { y = MatMul (x, w) }"
    assert counted(text, {"w": w}, edit=reads(x, 1)).effective_macs == round(32 * 0.8 * 0.5)


def test_without_a_layers_own_annotation_that_of_the_activation_counts(counted: Any) -> None:
    def annotate(model: ir.Model) -> None:
        write_zeros(model.graph.node(0), Zeros(0.25))

    w = np.ones((4, 4), np.float32)
    w[:2] = 0
    text = "g (float[2,4] x, float[4,4] w) => (float[a,b] y) { r = Relu(x) i = Identity(r) y = MatMul(i, w) }"
    cost = counted(text, {"w": w}, edit=annotate)
    assert (cost.macs, cost.effective_macs) == (32, round(32 * 0.5 * 0.75))
    assert cost.rows[0].zeros == Zeros(0.25)


def test_both_weights_of_a_recurrent_net_count_together(counted: Any) -> None:
    w, r = np.ones((1, 12, 4), np.float32), np.ones((1, 12, 3), np.float32)
    w[:, :6] = 0
    text = """g (float[5,1,4] x, float[1,12,4] w, float[1,12,3] r) => (float[a,b,c,d] y)
      { y, h, c = LSTM <hidden_size = 3> (x, w, r) }"""
    cost = counted(text, {"w": w, "r": r})
    assert (cost.macs, cost.effective_macs) == (5 * 84, 5 * 60)


def test_macs_add_up() -> None:
    assert Macs(4, 1, 2, 3) + Macs(8, 2, 4, 6).times(2) == Macs(20, 5, 10, 15)
    assert Macs(4, 1, 2, 3).facts() == {
        "macs": 4, "effective_macs": 1, "nonzero_weight_macs": 2, "nonzero_activation_macs": 3,
    }  # fmt: skip
