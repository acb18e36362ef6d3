from __future__ import annotations

import resource
import subprocess
import sys

import onnx_ir as ir
import pytest

from onnx_pare.errors import ModelError
from onnx_pare.graph import limits
from onnx_pare.graph.limits import check_activations, check_fits, memory_bytes

HEADER = '<ir_version: 8, opset_import: ["": 17]>'
# what makes 2^40 floats, of a file of some hundred bytes
BLOWN_UP = {
    "ConstantOfShape": "s = Constant <value = int64[2] {1048576, 1048576}> ()  h = ConstantOfShape(s)",
    "Expand": "s = Constant <value = int64[3] {1048576, 524288, 2}> ()  h = Expand(x, s)",
    "Tile": "s = Constant <value = int64[1] {549755813888}> ()  h = Tile(x, s)",
    "Pad": "s = Constant <value = int64[2] {0, 1099511627774}> ()  h = Pad(x, s)",
    "Range": """a = Constant <value = int64 {0}> ()  b = Constant <value = int64 {1099511627776}> ()
        c = Constant <value = int64 {1}> ()  h = Range(a, b, c)""",
    "Resize": """e = Constant <value = float[0] {}> ()  s = Constant <value = int64[1] {1099511627776}> ()
        h = Resize(x, e, e, s)""",
    "OneHot": """d = Constant <value = int64 {549755813888}> ()  v = Constant <value = float[2] {0, 1}> ()
        i = Cast <to=7> (x)  h = OneHot(i, d, v)""",
}


@pytest.mark.parametrize("operator", BLOWN_UP)
def test_tensors_beyond_all_memory_are_refused_unmade(operator: str) -> None:
    text = (
        f"{HEADER} g (float[2] x) => (float[N] y) {{ {BLOWN_UP[operator]}  f = Cast <to=1> (h)  y = Abs(f) }}"
    )
    with pytest.raises(ModelError, match=r"^tensor '.' \(.*\) needs \d,\d{3}\.\d GB; there are \d+\.\d GB"):
        check_activations(ir.from_onnx_text(text), {"x": (2,)})


def test_what_a_model_declares_is_believed_no_more_than_memory_allows() -> None:
    model = ir.from_onnx_text(
        f"{HEADER} g (float[2,3] x) => (float[2,4611686018427387904] y) {{ y = Relu(x) }}"
    )
    with pytest.raises(ModelError, match=r"^tensor 'y' \(2×4611686018427387904\) needs"):
        check_activations(model, {"x": (2, 3)})


def test_a_type_that_is_not_told_has_no_size() -> None:
    model = ir.from_onnx_text(f"{HEADER} g (float[2] x) => (float[2] y) {{ h = Abs(x)  y = Relu(h) }}")
    made = model.graph[0].outputs[0]
    made.shape, made.type = ir.Shape([1 << 60]), ir.TensorType(ir.DataType.UNDEFINED)
    check_activations(model, {"x": (2,)})


@pytest.mark.parametrize(("trips", "refused"), [(1 << 40, True), (1 << 31, True), (1 << 20, False)])
def test_loops_that_no_run_would_end_are_refused(trips: int, refused: bool) -> None:
    model = ir.from_onnx_text(
        f"""{HEADER} g (float[2] x) => (float[2] y) {{
        n = Constant <value = int64 {{{trips}}}> ()  k = Constant <value = bool {{1}}> ()
        y = Loop (n, k, x) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] t)
        {{ d = Identity(c)  t = Add(s, s) }}> }}"""
    )
    if refused:
        with pytest.raises(ModelError, match=f"^the loop that makes 'y' runs {trips:,} times"):
            check_activations(model, {"x": (2,)})
    else:
        check_activations(model, {"x": (2,)})


def test_a_loop_that_the_data_ends_is_let_through() -> None:
    model = ir.from_onnx_text(
        f"""{HEADER} g (float[2] x) => (float[2] y) {{
        n = Constant <value = int64 {{9223372036854775807}}> ()  k = Constant <value = bool {{1}}> ()
        y = Loop (n, k, x) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] t)
        {{ t = Add(s, s)  m = ReduceSum <keepdims = 0> (t)
        l = Constant <value = float {{9}}> ()  d = Less(m, l) }}> }}"""
    )
    check_activations(model, {"x": (2,)})


def test_what_fits_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ir.from_onnx_text(f"{HEADER} g (float[N] x) => (float[N] y) {{ y = Relu(x) }}")
    monkeypatch.setattr(limits, "memory_bytes", lambda: 400)
    check_activations(model, {"x": (100,)})
    with pytest.raises(ModelError, match=r"tensor '.' \(101\)"):
        check_activations(model, {"x": (101,)})
    monkeypatch.setattr(limits, "memory_bytes", lambda: None)
    check_fits("x", (1 << 60,), 1 << 62)


def test_limits_of_the_process_count() -> None:
    code = f"""
import resource
from onnx_pare.graph.limits import memory_bytes
for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
    resource.setrlimit(kind, ({1 << 32}, {1 << 32}))
    print(memory_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(1 << 32)] * 2
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_limits_of_the_container_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory_bytes", lambda: 123456)
    assert memory_bytes() == 123456
    monkeypatch.setattr(limits, "machine_memory_bytes", lambda: None)
    assert memory_bytes() in (None, resource.getrlimit(resource.RLIMIT_AS)[0])
