from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from onnx_pare.calibration.peaks import Peaks
from onnx_pare.quantization.equalization import LARGEST, equalizable, equalize

from .conftest import with_weights

Arrays = dict[str, np.ndarray]
INPUT = np.random.default_rng(5).normal(size=(8, 1, 4, 8, 8)).astype(np.float32)


def uneven(graph: str, **shapes: tuple[int, ...]) -> ir.Model:
    """Build a graph whose first weight "w" gives channels of very different range."""
    model = with_weights(graph, **shapes)
    weight = model.graph.initializers["w"]
    assert weight.const_value is not None
    array = weight.const_value.numpy()
    spread = np.logspace(-2, 0, len(array)).astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    weight.const_value = ir.tensor(array * spread, name="w")
    ShapeInferencePass()(model)
    return model


def seen(model: ir.Model, samples: np.ndarray = INPUT) -> list[Arrays]:
    """Run a model and return all of its float activations by name, the output's included."""
    shown = model.clone()
    names = {value.name for value in shown.graph.outputs}
    for node in shown.graph:
        for value in node.outputs:
            if value.name not in names and value.dtype == ir.DataType.FLOAT and node.op_type != "Constant":
                shown.graph.outputs.append(value)
    session = onnxruntime.InferenceSession(ir.to_proto(shown).SerializeToString())
    order = [output.name for output in session.get_outputs()]
    return [dict(zip(order, session.run(None, {"x": sample}), strict=True)) for sample in samples]


def peaks_of(runs: list[Arrays]) -> dict[str, Peaks]:
    found: dict[str, Peaks] = {}
    for run in runs:
        for name, array in run.items():
            found.setdefault(name, Peaks()).update(array)
    return found


def equalized(model: ir.Model) -> tuple[int, ir.Model]:
    changed = model.clone()
    return equalize(changed, equalizable(changed), peaks_of(seen(model))), changed


def spread(runs: list[Arrays], name: str) -> float:
    """Return the ratio of the largest channel's magnitude to the smallest's."""
    of_channels = np.max([np.abs(run[name]).max(axis=(0, 2, 3)) for run in runs], axis=0)
    return float(of_channels.max() / of_channels.min())


HEAD = "g (float[1, 4, 8, 8] x, float[8, 4, 3, 3] w, float[8] b, "
TAIL = "=> (float[n, c, h, q] y)"
BOUNDS = "lo = Constant <value = float {0.0}> () hi = Constant <value = float {6.0}> ()"
CASES = {
    "chain": (
        f"{HEAD} float[4, 8, 3, 3] v, float[4] d) {TAIL} "
        "{ a = Conv(x, w, b) r = Relu(a) y = Conv(r, v, d) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (4, 8, 3, 3), "d": (4,)},
    ),
    "residual": (
        f"{HEAD} float[8, 8, 3, 3] v, float[4, 8, 1, 1] z) {TAIL} "
        "{ a = Conv(x, w, b) r = Relu(a) c = Conv <pads = [1, 1, 1, 1]> (r, v) s = Add(c, r) t = Relu(s) "
        "y = Conv(t, z) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (8, 8, 3, 3), "z": (4, 8, 1, 1)},
    ),
    "depthwise and Clip": (
        f"{HEAD} float[8, 1, 3, 3] v, float[8] d, float[4, 8, 1, 1] z) {TAIL} {{ {BOUNDS} "
        "a = Conv(x, w, b) r = Clip(a, lo, hi) c = Conv <group = 8> (r, v, d) t = Clip(c, lo, hi) "
        "y = Conv(t, z) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (8, 1, 3, 3), "d": (8,), "z": (4, 8, 1, 1)},
    ),
    "groups": (
        f"{HEAD} float[6, 4, 3, 3] v, float[6] d) {TAIL} "
        "{ a = Conv(x, w, b) r = Relu(a) y = Conv <group = 2> (r, v, d) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (6, 4, 3, 3), "d": (6,)},
    ),
    "Concat": (
        f"{HEAD} float[3, 4, 3, 3] v, float[4, 11, 1, 1] z) {TAIL} "
        "{ a = Conv(x, w, b) r = Relu(a) c = Conv(x, v) s = Concat <axis = 1> (r, c) y = Conv(s, z) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (3, 4, 3, 3), "z": (4, 11, 1, 1)},
    ),
    "shortcut by Slice and Pad": (
        f"{HEAD} float[12, 8, 1, 1] v, float[4, 12, 1, 1] z) {TAIL} "
        "{ s0 = Constant <value = int64[2] {0, 0}> () e = Constant <value = int64[2] {6, 6}> () "
        "d = Constant <value = int64[2] {2, 3}> () two = Constant <value = int64[2] {2, 2}> () "
        "k = Constant <value = int64[8] {0, 2, 0, 0, 0, 2, 0, 0}> () "
        "a = Conv(x, w, b) r = Relu(a) c = Conv <strides = [2, 2]> (r, v) h0 = Slice(r, s0, e, d, two) "
        "p = Pad(h0, k) s = Add(c, p) t = Relu(s) y = Conv(t, z) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (12, 8, 1, 1), "z": (4, 12, 1, 1)},
    ),
    "Flatten and Gemm": (
        f"{HEAD} float[72, 5] v, float[5] d, float[3, 5] z) => (float[n, c] y) "
        "{ a = Conv(x, w, b) r = Relu(a) m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r) "
        "f = Flatten(m) c = Gemm(f, v, d) t = Relu(c) y = Gemm <transB = 1> (t, z) }",
        {"w": (8, 4, 3, 3), "b": (8,), "v": (72, 5), "d": (5,), "z": (3, 5)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_model_computes_the_same_with_channels_of_closer_range(name: str):
    graph, shapes = CASES[name]
    model = uneven(graph, **shapes)
    count, changed = equalized(model)
    before, after = seen(model), seen(changed)
    assert count > 0
    for one, other in zip(before, after, strict=True):
        assert np.abs(one["y"] - other["y"]).max() < 1e-4 * np.abs(one["y"]).max()
    assert spread(after, "a") < 0.8 * spread(before, "a")
    for key in ("a", "r"):
        highest = max(np.abs(run[key]).max() for run in before)
        assert max(np.abs(run[key]).max() for run in after) <= highest * 1.0001


def test_a_factor_is_the_root_of_the_room_and_bounded():
    graph, shapes = CASES["chain"]
    model = uneven(graph, **shapes)
    seen_of_r = Peaks()
    magnitudes = np.array([1.0, 0.25, 1 / 16, 1.0, 0.0, 1e-9, 1.0, 0.98], np.float32).reshape(1, 8, 1, 1)
    seen_of_r.update(magnitudes)
    seen_of_r.update(magnitudes)
    before = model.graph.initializers["w"].const_value.numpy()
    assert equalize(model, equalizable(model), {"r": seen_of_r}) == 3
    after = model.graph.initializers["w"].const_value.numpy()
    factors = (after / before).reshape(8, -1)
    expected = [1, 2, 4, 1, 1, LARGEST, 1, np.sqrt(1 / 0.98)]
    np.testing.assert_allclose(factors, np.repeat(np.array(expected)[:, None], 36, axis=1), rtol=1e-5)


def test_nothing_to_scale_changes_nothing():
    graph, shapes = CASES["chain"]
    model = uneven(graph, **shapes)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    even = Peaks()
    for _ in range(2):
        even.update(np.ones((1, 8, 1, 1), np.float32))
    for peaks in ({}, {"r": Peaks()}, {"r": even}):
        assert equalize(model, equalizable(model), peaks) == 0
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


SHARED = {
    "a weight read twice": "a = Conv(x, w, b) r = Relu(a) e = Conv(r, v) f = Conv(r, v) y = Add(e, f)",
    "a bias read twice": "a = Conv(x, w, b) r = Relu(a) c = Conv(r, v, b) y = Add(c, c)",
}


@pytest.mark.parametrize("reason", SHARED)
def test_weights_read_twice_are_never_scaled(reason: str):
    model = uneven(
        f"{HEAD} float[8, 8, 1, 1] v) {TAIL} {{ {SHARED[reason]} }}", w=(8, 4, 3, 3), b=(8,), v=(8, 8, 1, 1)
    )
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    count, changed = equalized(model)
    assert count == 0
    assert ir.to_proto(changed).SerializeToString(deterministic=True) == before
