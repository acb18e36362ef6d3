"""Where onnxruntime moves tensors in and out of blocks of channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onnx_pare.cost.kernels import Kernel

Kernels = Callable[..., list[Kernel]]
WEIGHTS = {"w": (16, 16, 3, 3), "d": (16, 1, 3, 3), "g": (16, 8, 3, 3), "f": (16, 3, 3, 3)}
PORTS = """float[1,16,6,6] x, float[1,3,6,6] rgb, float[16,16,3,3] w, float[16,1,3,3] d, float[16,8,3,3] g,
    float[16,3,3,3] f"""
CONV = "Conv <pads = [1,1,1,1]>"
POOL = "MaxPool <kernel_shape = [1,1]>"

# body -> kernels, where `in` and `out` are changes of layout
CASES = {
    f"y = {CONV}(x, w)": "in Conv out",
    # few channels are read as they are
    f"y = {CONV}(rgb, f)": "Conv out",
    f"a = {CONV}(x, w) b = Relu(a) y = {CONV}(b, w)": "in Conv Conv out",
    f"a = {CONV}(x, w) s = Sigmoid(a) m = Mul(a, s) y = {CONV}(m, w)": "in Conv silu Conv out",
    f"a = {CONV}(x, w) b = Sqrt(a) y = {CONV}(b, w)": "in Conv out Sqrt in Conv out",
    "y = Conv <group = 16> (x, d)": "in Conv out",
    # groups of 8 channels are no whole blocks
    "y = Conv <group = 2> (x, g)": "Conv",
    # two read the same tensor, moved once
    f"a = {CONV}(x, w) b = Sqrt(a) c = Add(a, b) y = Concat <axis = 1> (c, a)": "in Conv out Sqrt Add Concat",
    f"a = {CONV}(x, w) p = {POOL}(x) y = Concat <axis = 1> (a, p)": "in Conv MaxPool Concat out",
    # a transposition to channels last is part of the way out
    f"a = {CONV}(x, w) t = Transpose <perm = [0,2,3,1]> (a) y = Sqrt(t)": "in Conv out Sqrt",
}
SHORT = {"ReorderInput": "in", "ReorderOutput": "out"}


@pytest.mark.parametrize("body", CASES)
def test_layout(body: str, kernels_of: Kernels) -> None:
    text = f"g ({PORTS}) => (float[N,M,K,L] y) {{ {body} }}"
    found = kernels_of(text, "onnxruntime-cpu", WEIGHTS)
    assert " ".join(SHORT.get(each.op, each.op) for each in found) == CASES[body]


def test_what_a_change_of_layout_costs(kernels_of: Kernels) -> None:
    text = f"g ({PORTS}) => (float[N,M,K,L] y) {{ y = {CONV}(x, w) }}"
    before, layer, behind = kernels_of(text, "onnxruntime-cpu", WEIGHTS)
    assert (before.op_class, before.nodes, before.macs, before.weight_bytes) == ("copy", 0, 0, 0)
    assert before.read_bytes == before.written_bytes == 4 * 16 * 36 == 4 * before.elements
    assert behind.read_bytes == layer.written_bytes


def test_other_runtimes_change_none(kernels_of: Kernels) -> None:
    text = f"g ({PORTS}) => (float[N,M,K,L] y) {{ y = {CONV}(x, w) }}"
    assert [each.op for each in kernels_of(text, "ncnn", WEIGHTS)] == ["Conv"]


def test_other_ranks_and_constants_have_no_blocks(kernels_of: Kernels) -> None:
    text = "g (float c) => (float y, float z) { y = Relu(c) r = RandomNormal <shape = [4]> () z = Tanh(r) }"
    assert [each.op for each in kernels_of(text, "onnxruntime-cpu")] == ["Relu", "RandomNormal", "Tanh"]
