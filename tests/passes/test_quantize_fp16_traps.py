"""The classic ways in which half precision breaks a model: each in a model on a screen, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.quantize_fp16 import Options, QuantizeFp16

W = (16, 16)
MASKS = """(float[4,16] x) => (float[4,16] y) <float low = {%s}> {
    q = MatMul(x, w)
    s = Transpose(q)
    c = Greater(x, q)
    t = Where(c, low, q)
    p = Softmax(t)
    y = MatMul(p, w)
}"""
ADDED = """(float[1,1,4,16] x, bool[1,1,1,16] m) => (float[1,1,4,16] y)
    <float low = {%s}, float ones = {1.0}> {
    q = MatMul(x, w)
    f = Cast <to = 1> (m)
    n = Sub(ones, f)
    mask = Mul(n, low)
    t = Add(q, mask)
    p = Softmax(t)
    y = MatMul(p, w)
}"""
# body, nodes left float32 by reason
TRAPS: Mapping[str, tuple[str, dict[str, int]]] = {
    "the lowest float32 in a mask": (MASKS % "-3.4e38", {}),
    "an infinite mask": (MASKS % "-inf", {}),
    "a mask of 1e9 that is added": (ADDED % "-1e9", {}),
    "the lowest float32, added": (ADDED % "-3.4e38", {}),
    "an epsilon that vanishes": (
        """(float[4,16] x) => (float[4,16] y) <float eps = {1e-12}> {
            h = MatMul(x, w)
            n = ReduceL2 <axes = [1]> (h)
            g = Clip(n, eps)
            d = Div(h, g)
            y = MatMul(d, w)
        }""",
        {},
    ),
    "a normalization in single steps": (
        """(float[4,16] x) => (float[4,16] y) <float eps = {1e-6}, float two = {2.0}> {
            h = MatMul(x, w)
            m = ReduceMean <axes = [1]> (h)
            d = Sub(h, m)
            s = Pow(d, two)
            v = ReduceMean <axes = [1]> (s)
            e = Add(v, eps)
            r = Sqrt(e)
            n = Div(d, r)
            y = MatMul(n, w)
        }""",
        {},
    ),
    "the logarithm of an epsilon": (
        """(float[4,16] x) => (float[4,16] y) <float eps = {1e-10}> {
            h = MatMul(x, w)
            p = Relu(h)
            e = Add(p, eps)
            l = Log(e)
            y = MatMul(l, w)
        }""",
        {"needs tiny values": 2},
    ),
    "one over the root of something tiny": (
        """(float[4,16] x) => (float[4,16] y) <float k = {1e-3}, float h = {-0.5}> {
            a = MatMul(x, w)
            s = Mul(a, k)
            q = Mul(s, s)
            v = ReduceMean <axes = [1]> (q)
            r = Pow(v, h)
            d = Mul(s, r)
            y = MatMul(d, w)
        }""",
        {"needs tiny values": 4, "saves casts": 1},
    ),
    "an exponential that overflows": (
        """(float[4,16] x) => (float[4,16] y) <float k = {8.0}> {
            h = MatMul(x, w)
            l = Mul(h, k)
            e = Exp(l)
            g = Log(e)
            y = MatMul(g, w)
        }""",
        {"activations too large": 2},
    ),
    "bounds beyond the range": (
        """(float[4,16] x) => (float[4,16] y) <float low = {-1e9}, float high = {3.4e38}> {
            h = MatMul(x, w)
            c = Clip(h, low, high)
            m = Max(c, low)
            y = MatMul(m, w)
        }""",
        {},
    ),
    "a product with a huge constant": (
        """(float[4,16] x) => (float[4,16] y) <float huge = {1e8}> {
            h = MatMul(x, w)
            u = Mul(h, huge)
            d = Div(u, huge)
            y = MatMul(d, w)
        }""",
        {"weights do not fit": 2},
    ),
    "running sums": (
        """(float[4,16] x) => (float[4,16] y) <int64 axis = {1}> {
            h = MatMul(x, w)
            c = CumSum(h, axis)
            y = MatMul(c, w)
        }""",
        {"operator CumSum": 1},
    ),
    "a mean over many": (
        """(float[1,4,96,96] x) => (float[1,16,1,1] y) {
            c = Conv <kernel_shape = [1, 1]> (x, conv)
            s = Abs(c)
            m = ReduceMean <axes = [2, 3]> (s)
            y = Conv(m, w11)
        }""",
        {},
    ),
    "a range of numbers": (
        """(float[4,16] x) => (float[4,16] y) <float a = {0.0}, float b = {16.0}, float d = {1.0}> {
            h = MatMul(x, w)
            r = Range(a, b, d)
            s = Mul(h, r)
            y = MatMul(s, w)
        }""",
        {"operator Range": 1},
    ),
    "sampling at positions": (
        """(float[1,4,8,8] x) => (float[1,16,8,8] y) {
            c = Conv <kernel_shape = [1, 1]> (x, conv)
            g = GridSample(c, grid)
            y = Conv(g, w11)
        }""",
        {},
    ),
    "instance norm": (
        """(float[1,4,8,8] x) => (float[1,16,8,8] y) {
            c = Conv <kernel_shape = [1, 1]> (x, conv)
            n = InstanceNormalization(c, scale, scale)
            y = Conv(n, w11)
        }""",
        {},
    ),
    "a batch norm of dead channels": (
        """(float[1,4,8,8] x) => (float[1,16,8,8] y) <float[16] dead = {1e-9}> {
            c = Conv <kernel_shape = [1, 1]> (x, conv)
            n = BatchNormalization(c, scale, dead, dead, tiny)
            y = Conv(n, w11)
        }""",
        {},
    ),
    "shapes read from halves": (
        """(float[N,16] x) => (float[N,16] y) {
            h = MatMul(x, w)
            s = Shape(h)
            e = Expand(one, s)
            r = Reshape(e, s)
            a = Add(h, r)
            y = MatMul(a, w)
        }""",
        {},
    ),
}
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "w": W, "one": (1,), "conv": (16, 4, 1, 1), "w11": (16, 16, 1, 1), "grid": (1, 8, 8, 2), "scale": (16,),
    "tiny": (16,),
}  # fmt: skip


def load(body: str, folder: Path) -> ir.Model:
    body = body.replace("float[16] dead = {1e-9}", f"float[16] dead = {{{','.join(['1e-9'] * 16)}}}")
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}')
    used = {name for node in proto.graph.node for name in node.input}
    rng = np.random.default_rng(0)
    for name in used & set(WEIGHTS):
        array = rng.standard_normal(WEIGHTS[name]).astype(np.float32) / 2
        array = np.full_like(array, 1e-9) if name == "tiny" else array
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, folder / "model.onnx")
    return load_model(folder / "model.onnx")


def converted(source: ir.Model, folder: Path) -> Outcome:
    return QuantizeFp16(Options()).apply(source.clone(), Context(synthetic_samples(source, count=8), folder))


def run(model: ir.Model, path: Path, feeds: dict[str, Any]) -> np.ndarray[Any, Any]:
    write_model(model, path)
    return np.asarray(Session(path).run(feeds)[0])


@pytest.mark.parametrize(("body", "reasons"), TRAPS.values(), ids=TRAPS)
def test_trap(body: str, reasons: dict[str, int], tmp_path: Path) -> None:
    source = load(body, tmp_path)
    outcome = converted(source, tmp_path)
    assert outcome.notes["float32_reasons"] == reasons
    for feeds in synthetic_samples(source, count=4, seed=1):
        before = run(source, tmp_path / "before.onnx", feeds)
        after = run(outcome.model, tmp_path / "after.onnx", feeds)
        assert np.isfinite(before).all()
        np.testing.assert_allclose(after, before, rtol=0, atol=2e-2 * float(np.abs(before).max()))


def test_a_row_that_is_masked_altogether_stays_finite(tmp_path: Path) -> None:
    """In float32 it is uniform or not, but finite; halves of -3.4e38 would make it NaN."""
    source = load(ADDED % "-3.4e38", tmp_path)
    outcome = converted(source, tmp_path)
    assert outcome.notes["softened_masks"] == 1
    feeds = {"x": np.ones((1, 1, 4, 16), np.float32), "m": np.zeros((1, 1, 1, 16), np.bool_)}
    assert np.isfinite(run(source, tmp_path / "before.onnx", feeds)).all()
    assert np.isfinite(run(outcome.model, tmp_path / "after.onnx", feeds)).all()


def test_a_row_of_zeros_is_normalized_to_zeros(tmp_path: Path) -> None:
    """Calibration never saw one: 0 / max(0, 1e-12) must not become 0 / 0."""
    source = load(TRAPS["an epsilon that vanishes"][0], tmp_path)
    outcome = converted(source, tmp_path)
    feeds = {"x": np.zeros((4, 16), np.float32)}
    np.testing.assert_array_equal(run(outcome.model, tmp_path / "after.onnx", feeds), 0)


def test_masks_outside_of_softmax_stay_as_they_are(tmp_path: Path) -> None:
    body = """(float[4,16] x) => (float[4,16] y) <float low = {-1e9}> {
        q = MatMul(x, w)
        c = Greater(x, q)
        t = Where(c, low, q)
        p = LogSoftmax(t)
        y = MatMul(p, w)
    }"""
    source = load(body, tmp_path)
    outcome = converted(source, tmp_path)
    assert outcome.notes["softened_masks"] == 0
    feeds = {"x": np.ones((4, 16), np.float32)}
    before, after = (
        run(model, tmp_path / f"{name}.onnx", feeds)
        for name, model in (("before", source), ("after", outcome.model))
    )
    np.testing.assert_allclose(after, before, rtol=1e-2, atol=1e-2)
