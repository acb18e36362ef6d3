"""Small models of many operator families for fuzz.py to mutate; each takes milliseconds to run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared")) / "models"
# real models small and quick enough
REAL = ("mnist_lenet_tengine", "mlperf_tiny_kws_dscnn", "superres_x3", "silero_vad_16k")
HEADER = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1, "local": 1]>'
EXTERNAL = "weights.bin"

# `w…` inputs become weights
TEXTS = {
    "residual": """g (float[N,3,8,8] x, float[8,3,3,3] w1, float[8] wb, float[8,8,3,3] w2, float[8] ws,
        float[8] wt, float[8] wm, float[8] wv, float[8,10] wg, float[10] wh) => (float[N,10] y) {
        c = Conv <pads=[1,1,1,1]> (x, w1, wb)
        r = Relu(c)
        d = Conv <pads=[1,1,1,1]> (r, w2)
        v = Abs(wv)
        n = BatchNormalization(d, ws, wt, wm, v)
        s = Add(n, r)
        a = Relu(s)
        p = GlobalAveragePool(a)
        f = Flatten(p)
        y = Gemm(f, wg, wh)
    }""",
    "separable": """g (float[1,8,6,6] x, float[8,1,3,3] w1, float[16,8,1,1] w2, float[4,16,1,1] w3,
        float[16,4,1,1] w4) => (float[1,16,3,3] y) {
        d = Conv <group=8, strides=[2,2], pads=[1,1,1,1]> (x, w1)
        lo = Constant <value = float {0}> ()
        hi = Constant <value = float {6}> ()
        e = Clip(d, lo, hi)
        p = Conv (e, w2)
        q = GlobalAveragePool(p)
        s = Conv(q, w3)
        t = Relu(s)
        u = Conv(t, w4)
        v = HardSigmoid(u)
        y = Mul(p, v)
    }""",
    "attention": """g (float[1,T,16] x, float[16,16] wq, float[16,16] wk, float[16,16] wv, float[16] ws,
        float[16] wb, float[16,32] w1, float[32,16] w2) => (float[1,T,16] y) {
        n = LayerNormalization <axis=-1> (x, ws, wb)
        q = MatMul(n, wq)
        k = MatMul(n, wk)
        v = MatMul(n, wv)
        kt = Transpose <perm=[0,2,1]> (k)
        s = MatMul(q, kt)
        m = Softmax <axis=-1> (s)
        o = MatMul(m, v)
        a = Add(x, o)
        h = MatMul(a, w1)
        g1 = Sigmoid(h)
        g2 = Mul(h, g1)
        z = MatMul(g2, w2)
        y = Add(a, z)
    }""",
    "recurrent": """g (float[5,1,4] x, float[1,24,4] w1, float[1,24,6] w2, float[1,48] w3, float[1,18,6] w4,
        float[1,18,6] w5) => (float[5,1,1,6] z) {
        y, h, c = LSTM <hidden_size=6> (x, w1, w2, w3)
        ax = Constant <value = int64[1] {1}> ()
        s = Squeeze(y, ax)
        z, last = GRU <hidden_size=6> (s, w4, w5)
    }""",
    "control": """g (float[2,3] x, bool f, float[3,3] w1) => (float[2,3] y) {
        a = MatMul(x, w1)
        b = If (f) <
            then_branch = t () => (float[2,3] tb) { tb = Relu(a) },
            else_branch = e () => (float[2,3] eb) { eb = Neg(a) }>
        n = Constant <value = int64 {3}> ()
        k = Constant <value = bool {1}> ()
        y = Loop (n, k, b) <body = l (int64 i, bool ci, float[2,3] s) => (bool co, float[2,3] so) {
            co = Identity(ci)
            so = Add(s, a)
        }>
    }""",
    "shapes": """g (float[1,4,6,6] x) => (float[1,N] y) {
        sh = Shape(x)
        i = Constant <value = int64 {2}> ()
        d = Gather(sh, i)
        ax = Constant <value = int64[1] {0}> ()
        d1 = Unsqueeze(d, ax)
        fill = ConstantOfShape <value = float[1] {0.5}> (d1)
        m = Mul(x, fill)
        pads = Constant <value = int64[8] {0,0,1,1,0,0,1,1}> ()
        p = Pad(m, pads)
        roi = Constant <value = float[1] {0}> ()
        sc = Constant <value = float[4] {1,1,2,2}> ()
        r = Resize <mode="nearest"> (p, , sc)
        st = Constant <value = int64[2] {0,1}> ()
        en = Constant <value = int64[2] {4,9}> ()
        a2 = Constant <value = int64[2] {1,2}> ()
        s = Slice(r, st, en, a2)
        l, k = Split <axis=1> (s)
        c = Concat <axis=1> (k, l)
        rep = Constant <value = int64[4] {1,1,1,2}> ()
        t = Tile(c, rep)
        to = Constant <value = int64[2] {1,-1}> ()
        y = Reshape(t, to)
    }""",
    "ranges": """g (int64 n, float[3] x) => (float[K,3] y) {
        z = Constant <value = int64 {0}> ()
        o = Constant <value = int64 {1}> ()
        r = Range(z, n, o)
        f = Cast <to=1> (r)
        ax = Constant <value = int64[1] {1}> ()
        u = Unsqueeze(f, ax)
        h = NonZero(u)
        y = Mul(u, x)
    }""",
    "scan": """g (float[4] s, float[5,4] x, float[4] w1) => (float[4] l, float[5,4] y) {
        l, y = Scan <num_scan_inputs=1, body = b (float[4] a, float[4] e) => (float[4] n, float[4] o) {
            n = Add(a, e)
            o = Mul(n, w1)
        }> (s, x)
    }""",
    "contrib": """g (float[2,8] x, float[8,8] w1, float[8] w2) => (float[2,8] y) {
        m = MatMul(x, w1)
        a = com.microsoft.BiasGelu(m, w2)
        b = com.microsoft.Gelu(a)
        c = com.microsoft.FusedMatMul <alpha=0.5> (b, w1)
        y = com.microsoft.QuickGelu(c)
    }""",
    "quantized": """g (float[1,4] x, float[4,4] w1) => (float[1,4] y) {
        s = Constant <value = float {0.02}> ()
        z = Constant <value = int8 {0}> ()
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        u, us, uz = DynamicQuantizeLinear(d)
        e = DequantizeLinear(u, us, uz)
        y = MatMul(e, w1)
    }""",
    "sequences": """g (float[2,3] x, float[2,3] w1) => (float[4,3] y) {
        s = SequenceConstruct(x, w1)
        c = ConcatFromSequence <axis=0> (s)
        k = Constant <value = int64[1] {2}> ()
        v, i = TopK <axis=1> (c, k)
        e = Einsum <equation="ij,kl->il"> (v, c)
        y = Softmax(e)
    }""",
}
FUNCTION = """
<domain: "local", opset_import: ["": 17]>
Swish <alpha> (x) => (y) {
    s = Sigmoid(x)
    y = Mul(x, s)
}
"""


def names() -> list[str]:
    """Return the names of the models, always in one order."""
    real = [name for name in REAL if (SHARED / f"{name}.onnx").is_file()]
    return [*TEXTS, *_MADE, "digits", "digits", *real]


@cache
def base(name: str) -> bytes:
    """Return the model as bytes."""
    if name == "digits":
        return (files("onnx_pare.demo") / "digits.onnx").read_bytes()
    if name in REAL:
        return (SHARED / f"{name}.onnx").read_bytes()
    proto = _MADE[name]() if name in _MADE else _weighted(TEXTS[name])
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def external_bytes() -> bytes:
    """Return the content of the file that the model `external` keeps its weights in."""
    return np.random.default_rng(3).standard_normal(8 * 8, np.float32).tobytes()


def _weighted(text: str) -> Any:
    import onnx
    from onnx import numpy_helper, parser

    proto: onnx.ModelProto = parser.parse_model(f"{HEADER} {text}")
    rng = np.random.default_rng(0)
    for value in [value for value in proto.graph.input if value.name.startswith("w")]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
        proto.graph.input.remove(value)
    return proto


def _function() -> Any:
    from onnx import parser

    text = "g (float[2,4] x, float[4,4] w1) => (float[2,4] y) { m = MatMul(x, w1)  y = local.Swish(m) }"
    proto = _weighted(text)
    proto.functions.append(parser.parse_function(FUNCTION))
    return proto


def _sparse() -> Any:
    from onnx import helper

    proto = _weighted(
        "g (float[2,4] x, float[4,4] w1) => (float[2,4] y) { m = MatMul(x, w1)  y = Add(m, sp) }"
    )
    values = helper.make_tensor("sp", 1, [3], [1.0, 2.0, 3.0])
    indices = helper.make_tensor("i", 7, [3], [0, 3, 6])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 4]))
    return proto


def _external() -> Any:
    proto = _weighted("g (float[2,8] x, float[8,8] w1) => (float[2,8] y) { m = MatMul(x, w1)  y = Relu(m) }")
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", EXTERNAL), ("offset", "0"), ("length", str(8 * 8 * 4))):
        tensor.external_data.add(key=key, value=value)
    return proto


def _typed() -> Any:
    """Return a model whose weights lie in typed fields, in several types."""
    from onnx import helper

    proto = _weighted(
        "g (float[2,3] x) => (float[2,3] y) { c = Cast <to=1> (h)  m = Mul(x, c)  y = Add(m, f) }"
    )
    proto.graph.initializer.append(helper.make_tensor("h", 10, [3], [1.0, 2.0, 3.0]))
    proto.graph.initializer.append(helper.make_tensor("f", 1, [1], [0.5]))
    return proto


_MADE: dict[str, Callable[[], Any]] = {
    "function": _function,
    "sparse": _sparse,
    "external": _external,
    "typed": _typed,
}
