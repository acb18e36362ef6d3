from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx.shape_inference import InferenceError, infer_shapes

from onnx_pare.errors import ModelError, UsageError
from onnx_pare.graph.edit import add_initializer
from onnx_pare.graph.shapes import Shapes, TensorInfo, infer, input_shapes, parse_shapes


def model(text: str, opset: int = 17, more: str = "") -> ir.Model:
    return ir.from_onnx_text(f'<ir_version: 8, opset_import: ["" : {opset}{more}]>\n{text}')


def inferred(text: str, opset: int = 17, more: str = "", **given: tuple[int, ...]) -> Shapes:
    loaded = model(text, opset, more)
    before = ir.to_proto(loaded).SerializeToString(deterministic=True)
    shapes = infer(loaded, input_shapes(loaded, given))
    assert ir.to_proto(loaded).SerializeToString(deterministic=True) == before
    return shapes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=1x3x224x224", {"x": (1, 3, 224, 224)}),
        ("x=1,3", {"x": (1, 3)}),
        ("rate=", {"rate": ()}),
        ("a=b:0=2X5", {"a=b:0": (2, 5)}),
    ],
)
def test_parse_shapes(text: str, expected: dict[str, tuple[int, ...]]) -> None:
    assert parse_shapes([text]) == expected


@pytest.mark.parametrize("text", ["x", "=1x3", "x=1x", "x=1x-3", "x=ax3", "x=1x0"])
def test_parse_shapes_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="--shape"):
        parse_shapes([text])


def test_an_input_given_twice_is_an_error() -> None:
    with pytest.raises(UsageError, match="twice"):
        parse_shapes(["x=1", "x=2"])


TWO_INPUTS = """g (float[batch,length] x, float[2,batch,128] state, int64 rate) => (float[batch,length] y) {
    y = Relu(x)
}"""


def test_free_dimensions_are_resolved_by_name_and_batch() -> None:
    shapes = input_shapes(model(TWO_INPUTS), {"x": (3, 50)})
    assert shapes == {"x": (3, 50), "state": (2, 3, 128), "rate": ()}


def test_a_free_first_dimension_is_the_batch() -> None:
    assert input_shapes(model("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"), batch=4) == {"x": (4, 3)}


def test_other_free_dimensions_are_named() -> None:
    with pytest.raises(ModelError, match=r"'x' \[batch, length\].*'length' \(position 1\)") as caught:
        input_shapes(model(TWO_INPUTS))
    assert "--shape x=1x?" in caught.value.hint


def test_given_shapes_must_fit() -> None:
    loaded = model(TWO_INPUTS)
    with pytest.raises(UsageError, match="no input 'X'"):
        input_shapes(loaded, {"X": (1, 2)})
    with pytest.raises(UsageError, match="1x2 does not fit"):
        input_shapes(loaded, {"state": (1, 2)})
    with pytest.raises(UsageError, match="3x1x128 does not fit"):
        input_shapes(loaded, {"state": (3, 1, 128)})


def test_recorded_shapes_of_another_batch_are_not_believed() -> None:
    shapes = inferred(
        "g (float[N,3,8,8] x) => (float[N,3,8,8] y) <float[1,3,8,8] h> { h = Relu(x) y = Relu(h) }",
        x=(5, 3, 8, 8),
    )
    assert shapes["h"] == shapes["y"] == TensorInfo("float32", (5, 3, 8, 8))


def test_weights_of_every_kind_have_shapes() -> None:
    loaded = model(
        """g (float[N,4] x, float[4,6] w) => (float[N,8] y)
        <float[4,6] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, int64[2] s = {6, 8}> {
            v = ConstantOfShape <value = float[1] {0.5}> (s)
            h = MatMul(x, w)
            y = MatMul(h, v)
        }"""
    )
    shapes = infer(loaded, input_shapes(loaded))
    assert [shapes[name].shape for name in ("w", "v", "y")] == [(4, 6), (6, 8), (1, 8)]


RESHAPES = """g (float[N,C,H,W] x) => (float[a,b,c] y) {
    shape = Shape(x)
    zero = Constant <value_ints = [0]> ()
    two = Constant <value_ints = [2]> ()
    n = Gather(shape, zero)
    first = Constant <value_ints = [1]> ()
    c = Gather(shape, first)
    half = Div(c, two)
    rest = Constant <value_ints = [-1]> ()
    target = Concat <axis = 0> (n, half, rest)
    y = Reshape(x, target)
}"""


def test_shape_arithmetic_is_computed() -> None:
    shapes = inferred(RESHAPES, x=(2, 6, 4, 4))
    assert shapes["y"].shape == (2, 3, 32)
    assert shapes.unknown == ()


def test_pads_that_are_computed_and_cast() -> None:
    shapes = inferred(
        """g (float[1,3,8] x) => (float[a,b,c] y) {
            count = Constant <value_ints = [6]> ()
            pads = ConstantOfShape <value = float[1] {1.0}> (count)
            whole = Cast <to = 7> (pads)
            y = Pad(x, whole)
        }"""
    )
    assert shapes["y"].shape == (3, 5, 10)


IF = """g (float[1,4] x, bool c) => (float[n,m] y) {{
    {condition}
    y = If (flag) <
        then_branch = t () => (float[a,b] out) {{ h = Relu(x) out = Identity(h) }},
        else_branch = e () => (float[a,b] out) {{ h = Concat <axis = {axis}> (x, x) out = Identity(h) }}
    >
}}"""


def test_a_known_condition_takes_its_branch() -> None:
    condition = "s = Size(x) four = Constant <value_int = 4> () flag = Equal(s, four)"
    shapes = inferred(IF.format(condition=condition, axis=0))
    assert shapes["y"].shape == (1, 4)
    assert shapes.unknown == ()


def test_an_unknown_condition_is_settled_by_running_once_on_zeros() -> None:
    shapes = inferred(IF.format(condition="flag = Not(c)", axis=0), more=', "com.microsoft" : 1')
    assert shapes["y"].shape == (1, 4)  # Not(false) takes the first branch


def test_branches_that_name_their_values_alike_keep_their_own_shapes() -> None:
    shapes = inferred(IF.format(condition="flag = Identity(c)", axis=1))
    assert {shapes["h"].shape, shapes["h_1"].shape} == {(1, 4), (1, 8)}
    assert shapes["y"].shape == (1, 8)


def test_a_loop_with_a_known_number_of_trips() -> None:
    shapes = inferred(
        """g (float[2,3] x) => (float[2,3] last, float[n,k,m] all) {
            trips = Constant <value_int = 5> ()
            go = Constant <value = bool {1}> ()
            last, all = Loop (trips, go, x) <body = b (int64 i, bool c, float[k,m] s)
                => (bool c2, float[k,m] s2, float[k,m] scan) {
                c2 = Identity(c)
                s2 = Relu(s)
                scan = Add(s2, s2)
            }>
        }"""
    )
    assert shapes["all"].shape == (5, 2, 3)
    assert shapes["scan"].shape == (2, 3)
    assert shapes.trips == {"last": 5}


def test_a_scan_runs_once_a_slice() -> None:
    shapes = inferred(
        """g (float[3] start, float[7,3] x) => (float[3] last, float[n,m] all) {
            last, all = Scan <num_scan_inputs = 1, body = b (float[m] s, float[m] e)
                => (float[m] s2, float[m] o) { s2 = Add(s, e) o = Relu(s2) }> (start, x)
        }"""
    )
    assert shapes["all"].shape == (7, 3)
    assert shapes.trips == {"last": 7}


def test_operators_of_onnxruntime_are_asked_of_onnxruntime() -> None:
    shapes = inferred(
        """g (float[N,4] x, float[4,6] w) => (float[N,M] y) {
            h = com.microsoft.FusedMatMul(x, w)
            y = Relu(h)
        }""",
        more=', "com.microsoft" : 1',
        x=(3, 4),
    )
    assert shapes["y"] == TensorInfo("float32", (3, 6))


def test_shapes_that_depend_on_data_are_those_of_zeros() -> None:
    shapes = inferred("g (float[4] x) => (int64[n,m] y) { one = Exp(x) y = NonZero(one) }")
    assert shapes["y"] == TensorInfo("int64", (1, 4))


def test_contradicting_shapes_are_an_error() -> None:
    loaded = model("g (float[N,C] x, float[4,6] w) => (float[N,M] y) { y = MatMul(x, w) }")
    with pytest.raises(ModelError, match="'y' cannot be found") as caught:
        infer(loaded, input_shapes(loaded, {"x": (1, 5)}))
    assert "--shape" in caught.value.hint


def test_what_onnx_refuses_to_infer_is_walked() -> None:
    loaded = model(
        """g (float[4] s, float[5,4] x) => (float[4] l, float[5,4] y)
        { l, y = Scan (s, x) <num_scan_inputs: int = 1, body: graph =
        b (float[4] a, float[4] e) => (float[4] n, float[4] o) { n = Add (a, e)  o = Mul (n, n) }> }"""
    )
    scanned = loaded.graph.inputs[1]
    scanned.const_value = ir.tensor(np.zeros(16, np.float32), name="x")  # of another rank
    loaded.graph.register_initializer(scanned)
    with pytest.raises(InferenceError):
        infer_shapes(ir.to_proto(loaded))
    assert infer(loaded, input_shapes(loaded, {}))["l"] == TensorInfo("float32", (4,))


def test_functions_are_inlined() -> None:
    loaded = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,3] x) => (float[n,m] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 17]>
        twice (a) => (b) { h = Relu(a) b = Concat <axis = 0> (h, h) }"""
    )
    shapes = infer(loaded, input_shapes(loaded))
    assert shapes["y"].shape == (4, 3)
    assert len(loaded.functions) == 1


def test_large_weights_are_not_serialized() -> None:
    import numpy as np

    from onnx_pare.graph.skeleton import skeleton

    loaded = model("g (float[1,1000] x) => (float[1,1000] y) { y = MatMul(x, w) }".replace("w)", "x)"))
    weight = add_initializer(loaded.graph, "w", np.ones((1000, 1000), np.float32))
    loaded.graph.node(0).replace_input_with(1, weight)
    assert len(skeleton(loaded, {}).SerializeToString()) < 1000
    assert infer(loaded, {})["w"].size_bytes == 4_000_000


def test_four_bit_types_take_half_a_byte() -> None:
    assert TensorInfo("int4", (3, 3)).size_bytes == 5
    assert TensorInfo("float64", (2, 2)).size_bytes == 32
    assert TensorInfo("string", (2,)).size_bytes == 0
