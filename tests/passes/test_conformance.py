"""What every registered pass must keep, on models of every kind; a new pass is tested here by existing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.passes.base import Context, Outcome, Pass, registry, summary

MakeContext = Callable[..., Context]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "passes.md"
HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
MODELS: Mapping[str, str] = {
    "convolutions": """
g (float[N,3,8,8] x) => (float[N,5] y)
<float[8,3,3,3] w1, float[8] s, float[8] b, float[8] m, float[8] variance, float[8,1,3,3] w2,
 float[4,8,1,1] w3, float[5,12] fc, float[5] bias> {
   c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
   n1 = BatchNormalization (c1, s, b, m, variance)
   r1 = Relu (n1)
   c2 = Conv <pads = [1, 1, 1, 1], group = 8> (r1, w2)
   sum = Add (c2, r1)
   r2 = Relu (sum)
   c3 = Conv (r2, w3)
   cat = Concat <axis = 1> (r2, c3)
   pooled = GlobalAveragePool (cat)
   flat = Flatten (pooled)
   y = Gemm <transB = 1> (flat, fc, bias)
}""",
    "perceptron": """
g (float[N,6,16] x) => (float[N,6,4] y)
<float[16,8] w1, float[8] b1, float[8,4] w2> {
   a = MatMul (x, w1)
   h = Add (a, b1)
   r = Relu (h)
   y = MatMul (r, w2)
}""",
    "branches": """
g (float[N,4] x, bool flag) => (float[N,4] y)
<float[4,4] w, float[4,4] v> {
   a = MatMul (x, w)
   y = If (flag) <
      then_branch = t () => (float[N,4] p) { h = MatMul (a, v)  p = Relu (h) },
      else_branch = e () => (float[N,4] q) { q = Identity (a) }>
}""",
    "recurrent": """
g (float[5,N,4] x) => (float[5,1,N,3] y)
<float[1,12,4] w, float[1,12,3] r, float[1,24] b> {
   y = LSTM <hidden_size = 3> (x, w, r, b)
}""",
    "quantized": """
g (float[N,4] x) => (float[N,4] y)
<float xs = {0.05}, uint8 xz = {128}, int8[4,4] w, float ws = {0.02}, int8 wz = {0}> {
   xq = QuantizeLinear (x, xs, xz)
   xd = DequantizeLinear (xq, xs, xz)
   wd = DequantizeLinear (w, ws, wz)
   y = MatMul (xd, wd)
}""",
    "nothing": "g (float[N,4] x) => (float[N,4] y) { y = Sigmoid (x) }",
}
PASSES = sorted(registry())
# options that lead elsewhere than the defaults
VARIANTS: Mapping[str, list[Mapping[str, Any]]] = {
    "prune_channels": [
        {"criterion": "l1", "refit": False},
        {"criterion": "activation"},
        {"ratio": 0.3, "scope": "global"},
    ],
    "prune_magnitude": [
        {"method": "magnitude"},
        {"scope": "global"},
        {"pattern": "2:4"},
        {"block": [2, 2]},
    ],
    "quantize_int8": [{"mode": "dynamic"}, {"format": "qoperator"}],
    "substitute_dsc": [{"max_error": 0.9, "form": "concat"}, {"ranks": {"*": 1}, "fit": False}],
    "factorize": [{"max_error": 0.9}, {"ranks": {"*": 1}, "fit": False}],
}
# outputs of lossless passes, relative to their largest magnitude
TOLERANCE = 1e-4


def build(name: str, folder: Path) -> ir.Model:
    """Return a model as loaded from a file, its declared weights filled with seeded numbers."""
    from onnx import helper, numpy_helper, parser

    proto = parser.parse_model(HEAD + MODELS[name])
    rng = np.random.default_rng(0)
    made = {output for node in proto.graph.node for output in node.output}
    for value in [value for value in proto.graph.value_info if value.name not in made]:
        kind = value.type.tensor_type
        array = rng.standard_normal([dim.dim_value for dim in kind.shape.dim])
        if value.name == "variance":
            array = np.abs(array) + 0.5
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        array = np.round(array * 40) if dtype == np.int8 else array
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(dtype), value.name))
        proto.graph.value_info.remove(value)
    path = folder / f"{name}.onnx"
    path.write_bytes(proto.SerializeToString())
    return load_model(path)


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> ir.Model:
    return build(request.param, tmp_path)


@pytest.fixture(
    params=[(name, options) for name in PASSES for options in [{}, *VARIANTS.get(name, [])]], ids=str
)
def transform(request: pytest.FixtureRequest) -> Pass:
    name, options = request.param
    cls = registry()[name]
    return cls(cls.Options.model_validate(options))


def outputs(model: ir.Model, path: Path, context: Context) -> list[Any]:
    write_model(model, path)
    session = Session(path)
    return [array for feeds in context.samples for array in session.run(feeds)]


def test_every_pass_on_every_model(
    transform: Pass, model: ir.Model, context: MakeContext, tmp_path: Path
) -> None:
    shapes = {"x": (5, 1, 4)} if "LSTM" in {node.op_type for node in model.graph} else None
    setting = context(model, count=4, shapes=shapes)
    given, ports = serialize(model), signature(model)
    before = outputs(model, tmp_path / "before.onnx", setting)

    outcome = transform.apply(model.clone(), setting)
    result = serialize(outcome.model)
    after = outputs(outcome.model, tmp_path / "after.onnx", setting)
    assert problems(tmp_path / "after.onnx", ports, signature(outcome.model)) == []
    assert (outcome.changed == 0) == (result == given)
    _json_notes(outcome)
    for a, b in zip(before, after, strict=True):
        assert np.isfinite(b).all()
        if transform.lossless:
            np.testing.assert_allclose(b, a, rtol=0, atol=TOLERANCE * np.abs(a).max())

    again = transform.apply(load_model(tmp_path / "before.onnx"), setting)
    assert serialize(again.model) == result, "two runs differ"
    if transform.idempotent:
        assert transform.apply(outcome.model, setting).changed == 0, "a second run changes something"


def _json_notes(outcome: Outcome) -> None:
    """Notes go into the JSON report as they are."""
    json.dumps(outcome.notes, allow_nan=False)
    assert all(isinstance(warning, str) and warning for warning in outcome.warnings)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_is_described(name: str) -> None:
    cls = registry()[name]
    assert cls.name == name
    assert summary(cls).endswith(".")
    assert "Keeps" in (cls.__doc__ or ""), "the docstring says what the pass preserves"
    for field, info in cls.Options.model_fields.items():
        assert info.description, f"option {field} has no description"
    assert f"| `{name}` |" in DOCS.read_text(encoding="utf-8"), "docs/passes.md has a line for it"
