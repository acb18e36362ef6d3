from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

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


def test_limits_of_the_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    monkeypatch.setattr(limits, "_CGROUPS", files)
    without = memory_bytes()
    files[0].write_text("max\n")
    assert memory_bytes() == without
    files[1].write_text("123456\n")
    assert memory_bytes() == 123456
