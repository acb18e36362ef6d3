from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnx_pare.graph.computed import Contents

HEADER = '<ir_version: 8, opset_import: ["": 17]>'


def values(text: str) -> tuple[Contents, dict[str, ir.Value]]:
    model = ir.from_onnx_text(f"{HEADER} {text}")
    return Contents(model), ir.convenience.create_value_mapping(model.graph)


def test_what_is_made_of_constants_by_moving_them_is_known():
    contents, named = values("""g (float[4] x) => (float[4] y) {
        w = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> ()
        a, b = Split <axis = 0> (w)
        c = Concat <axis = 0> (b, a)
        y = Add(x, c)
    }""")
    np.testing.assert_array_equal(contents.of(named["c"]), [3, 4, 1, 2])
    np.testing.assert_array_equal(contents.of(named["w"]), [1, 2, 3, 4])


def test_what_depends_on_inputs_or_on_arithmetic_is_not():
    contents, named = values("""g (float[4] x) => (float[8] y, float[4] z) {
        w = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> ()
        y = Concat <axis = 0> (x, w)
        z = Sqrt(w)
    }""")
    assert [contents.of(named[name]) for name in ("x", "y", "z")] == [None, None, None]
    assert contents.of(None) is None


def test_the_operators_of_an_old_opset_are_computed_as_they_were():
    model = ir.from_onnx_text("""<ir_version: 4, opset_import: ["": 9]>
        g (float[2] x) => (float[2] y) {
            w = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> ()
            s = Slice <starts = [2], ends = [4]> (w)
            y = Add(x, s)
        }""")
    found = Contents(model).of(ir.convenience.create_value_mapping(model.graph)["s"])
    np.testing.assert_array_equal(found, [3, 4])
