"""What each kernel computes and moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.cost.fusion import RULES
from onnx_pare.cost.kernels import Kernel, kernels

Kernels = Callable[..., list[Kernel]]


def test_a_convolution(kernels_of: Kernels) -> None:
    (seen,) = kernels_of(
        """g (float[2,4,9,9] x, float[6,2,3,3] w, float[6] b) => (float[N,M,K,L] y) {
            c = Conv <group = 2, strides = [2,2]> (x, w, b) y = Relu(c) }""",
        "ncnn",
        {"w": (6, 2, 3, 3), "b": (6,)},
    )
    assert (seen.op, seen.op_class, seen.dtype, seen.nodes) == ("Conv", "grouped", "float32", 2)
    assert (seen.inner, seen.outer, seen.rows, seen.window, seen.stride, seen.groups) == (2, 3, 32, 9, 2, 2)
    assert seen.macs == 2 * 6 * 16 * 2 * 9
    assert (seen.read_bytes, seen.written_bytes) == (4 * 2 * 4 * 81, 4 * 2 * 6 * 16)
    assert (seen.weight_bytes, seen.elements) == (4 * (6 * 2 * 9 + 6), 2 * 6 * 16)
    assert seen.traffic_bytes == seen.read_bytes + seen.written_bytes + seen.weight_bytes
    twice = seen.batched(2)
    assert (twice.macs, twice.rows, twice.weight_bytes) == (2 * seen.macs, 2 * seen.rows, seen.weight_bytes)


def test_attention_reads_all_views_of_what_it_reads(kernels_of: Kernels) -> None:
    (seen,) = kernels_of(
        """g (float[1,6,24] x) => (float[N,M,K] y) {
            q, k, v = Split <axis = 2> (x)
            t = Transpose <perm = [0,2,1]> (k) s = MatMul(q, t) p = Softmax(s) y = MatMul(p, v) }""",
        "gpu-compiled",
        opset=13,
    )
    assert (seen.op, seen.op_class) == ("attention", "attention")
    assert (seen.read_bytes, seen.written_bytes) == (4 * 6 * 24, 4 * 6 * 8)
    assert seen.macs == 2 * 6 * 6 * 8


def test_products_of_activations_have_groups(kernels_of: Kernels) -> None:
    (seen,) = kernels_of("g (float[2,3,4,5] a, float[2,3,5,6] b) => (float[N,M,K,L] y) { y = MatMul(a, b) }")
    assert (seen.op_class, seen.groups, seen.rows, seen.inner, seen.outer) == ("matmul", 6, 24, 5, 6)


@pytest.mark.parametrize("rules", RULES)
def test_branches_and_loops_keep_their_macs(rules: str, kernels_of: Kernels) -> None:
    seen = kernels_of(
        """g (float[2,4] x, bool c, float[4,4] w) => (float[2,4] y) {
            n = Constant <value_int = 5> ()
            go = Constant <value = bool {1}> ()
            h = If (c) <
                then_branch = t () => (float[a,b] o) { o = MatMul(x, w) },
                else_branch = e () => (float[a,b] p) { m = MatMul(x, w) p = MatMul(m, w) } >
            y = Loop (n, go, h) <body = b (int64 i, bool d, float[2,4] s) => (bool e, float[2,4] r) {
                e = Identity(d) r = MatMul(s, w) }>
        }""",
        rules,
        {"w": (4, 4)},
    )
    assert [(each.op, each.op_class, each.macs) for each in seen] == [
        ("If", "control", 64),
        ("Loop", "control", 160),
    ]
    # x is read inside of the branches
    assert seen[0].read_bytes == 4 * 8 + 1


def graphs(shared: Path) -> list[Path]:
    names = ("resnet18", "swin_tiny_patch4_window7_224", "mobilenetv3_small_050", "levit_128s")
    return [shared / "archs" / "timm" / f"{name}.onnx" for name in names]


@pytest.mark.parametrize("index", range(4))
def test_no_macs_are_lost(index: int, shared: Path) -> None:
    from onnx_pare.cost.count import count
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, input_shapes

    path = graphs(shared)[index]
    if not path.is_file():
        pytest.skip(f"no graph {path}")
    model = load_model(path)
    shapes = infer(model, input_shapes(model))
    cost = count(model, shapes)
    number: dict[str, Any] = {}
    for rules in RULES:
        seen = kernels(model, shapes, cost, rules)
        assert sum(each.macs or 0 for each in seen) == cost.macs
        number[rules] = len(seen)
    assert max(number.values()) == number["none"]
