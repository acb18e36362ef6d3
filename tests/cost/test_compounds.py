"""Formulas, attention, products and splits, in the spellings of exporters."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from onnx_pare.cost.compounds import Finder
from onnx_pare.cost.constants import constant_values, is_constant_node
from onnx_pare.cost.formulas import CLASS_OF_COMPOUND
from onnx_pare.graph.shapes import infer, input_shapes

FORMULAS = {
    "silu": "s = Sigmoid(x) y = Mul(x, s)",
    "silu (1.702)": "t = Mul(x, c) s = Sigmoid(t) y = Mul(s, x)",
    "hardswish": "s = HardSigmoid(x) y = Mul(s, x)",
    "hardswish (relu6, divided first)": "a = Add(x, c) r = Clip(a, c, c) d = Div(r, c) y = Mul(x, d)",
    "hardswish (relu6, divided last)": "a = Add(x, c) r = Clip(a, c, c) m = Mul(x, r) y = Div(m, c)",
    "hardsigmoid": "a = Add(c, x) r = Clip(a, c, c) y = Mul(r, c)",
    "mish": "p = Softplus(x) t = Tanh(p) y = Mul(x, t)",
    "mish (spelled out)": "e = Exp(x) a = Add(e, c) p = Log(a) t = Tanh(p) y = Mul(t, x)",
    "gelu": "d = Div(x, c) e = Erf(d) a = Add(e, c) m = Mul(x, a) y = Mul(m, c)",
    "gelu (halved first)": "h = Mul(x, c) d = Div(x, c) e = Erf(d) a = Add(e, c) y = Mul(h, a)",
    "gelu (halved gate)": "d = Mul(x, c) e = Erf(d) a = Add(c, e) h = Mul(a, c) y = Mul(x, h)",
    "gelu (tanh)": """q = Pow(x, c) k = Mul(q, c) i = Add(x, k) j = Mul(i, c) t = Tanh(j)
        a = Add(t, c) h = Mul(x, c) y = Mul(h, a)""",
    "layernorm": """m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) q = Pow(d, c)
        v = ReduceMean <axes = [-1]> (q) e = Add(v, c) r = Sqrt(e) n = Div(d, r)
        s = Mul(n, g) y = Add(s, g)""",
    "layernorm (plain)": """m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) q = Mul(d, d)
        v = ReduceMean <axes = [-1]> (q) e = Add(v, c) r = Sqrt(e) y = Div(d, r)""",
    "layernorm (centred twice)": """m = ReduceMean <axes = [-1]> (x) d = Sub(x, m) f = Sub(x, m) q = Pow(f, c)
        v = ReduceMean <axes = [-1]> (q) e = Add(v, c) r = Sqrt(e) y = Div(d, r)""",
    "rmsnorm": """q = Pow(x, c) v = ReduceMean <axes = [-1]> (q) e = Add(v, c) r = Sqrt(e) i = Reciprocal(r)
        n = Mul(x, i) y = Mul(n, g)""",
    "l2norm": "n = ReduceL2 <axes = [-1]> (x) k = Clip(n, c) y = Div(x, k)",
}
ALL = frozenset({*CLASS_OF_COMPOUND, "product"})


def found(body: str, ports: str = "float[2,8] x", names: frozenset[str] = ALL) -> tuple[list[str], int]:
    """Return names of compounds as `gelu 5` (with their nodes), and how many nodes the graph has."""
    model = ir.from_onnx_text(
        f"""<ir_version: 8, opset_import: ["": 17]>
        graph ({ports}) => (float[N,M] y) <float c = {{1}}, float[8] g = {{1,1,1,1,1,1,1,1}},
            float[8,8] w = {{{", ".join(["1"] * 64)}}}, int64 zero = {{0}}, int64 one = {{1}},
            int64[1] start = {{0}}, int64[1] middle = {{4}}, int64[1] end = {{8}}, int64[1] two = {{2}},
            int64[1] last = {{1}}> {{ {body} }}"""
    )
    constants = constant_values(model)
    nodes = [node for node in model.graph if not is_constant_node(node, constants)]
    infos = infer(model, input_shapes(model))
    each = dict.fromkeys(Finder(infos, constants).find(nodes, names).values())
    return [f"{compound.name} {len(compound.nodes)}".strip() for compound in each], len(nodes)


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name: str) -> None:
    compounds, nodes = found(FORMULAS[name])
    assert compounds == [f"{name.split()[0]} {nodes}"]


def test_what_others_read_has_to_be_computed_anyway() -> None:
    assert found("s = Sigmoid(x) z = Mul(x, s) y = Add(z, s)")[0] == []


def test_another_tensor_is_another_formula() -> None:
    assert found("s = Sigmoid(x) y = Mul(s, v)", "float[2,8] x, float[2,8] v")[0] == []


def test_only_the_names_asked_for() -> None:
    assert found(FORMULAS["silu"], names=frozenset({"gelu"}))[0] == []


QKV = "float[2,6,8] q, float[2,6,8] k, float[2,6,8] v, float[2,6,6] mask"
ATTENTION = {
    "plain": "s = MatMul(q, k) p = Softmax(s) y = MatMul(p, v)",
    "scaled, transposed": """t = Transpose <perm = [0,2,1]> (k) s = MatMul(q, t) d = Div(s, c) p = Softmax(d)
        y = MatMul(p, v)""",
    "scaled before": """a = Mul(q, c) t = Transpose <perm = [0,2,1]> (k) b = Mul(t, c) s = MatMul(a, b)
        p = Softmax(s) y = MatMul(p, v)""",
    "masked": """t = Transpose <perm = [0,2,1]> (k) s = MatMul(q, t) d = Div(s, c) m = Add(mask, d)
        p = Softmax(m) y = MatMul(p, v)""",
    "reshaped for the mask (swin)": """t = Transpose <perm = [0,2,1]> (k) s = MatMul(q, t) f = Shape(s)
        r = Reshape(s, f) m = Add(r, mask) n = Reshape(m, f) p = Softmax(n) y = MatMul(p, v)""",
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name: str) -> None:
    ports = QKV if "t =" in ATTENTION[name] else QKV.replace("6,8] k", "8,6] k")
    compounds, nodes = found(ATTENTION[name], ports)
    assert compounds == [f"attention {nodes}"]


def test_scores_that_others_read_are_no_attention() -> None:
    body = "s = MatMul(q, k) p = Softmax(s) o = MatMul(p, v) e = ReduceSum(p) y = Add(o, e)"
    assert found(body, QKV.replace("6,8] k", "8,6] k"))[0] == []


def test_products_scale_and_transpose_on_the_way() -> None:
    body = "a = Mul(x, c) t = Transpose <perm = [1,0]> (x) p = MatMul(a, t) y = Div(p, c)"
    assert found(body, names=frozenset({"product"}))[0] == ["4"]


def test_a_scale_by_channel_is_no_scale() -> None:
    assert found("a = Mul(x, g) y = MatMul(a, w)", names=frozenset({"product"}))[0] == []


SPLITS = {
    "a = Slice(x, start, middle, last) b = Slice(x, middle, end, last) y = Add(a, b)": ["split 2"],
    "a = Slice(x, start, middle, last) b = Slice(x, start, middle, last) y = Concat <axis = 1> (a, b, x)": [],
    "a = Slice(x, start, end, last, two) b = Slice(x, last, end, last, two) y = Add(a, b)": [],
    "a = Gather(x, zero) b = Gather(x, one) y = Add(a, b)": ["split 2"],
}


@pytest.mark.parametrize("body", SPLITS)
def test_selections_that_take_a_tensor_apart(body: str) -> None:
    assert found(body)[0] == SPLITS[body]
