"""Damaged and hostile model files are loaded, or refused in one line: never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model

TEXT = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[N, 2] x, bool f) => (float[N, 2] y)
<float[2, 2] w = {1, 2, 3, 4}, int64[2] s = {-1, 2}> {
    m = MatMul(x, w)
    r = Reshape(m, s)
    b = If (f) <then_branch = t () => (t0) { t0 = Relu(r) }, else_branch = e () => (e0) { e0 = local.F(r) }>
    y = Identity(b)
}
<domain: "local", opset_import: ["": 17]> F (a) => (c) { c = Neg(a) }
"""
MODEL: bytes = onnx.parser.parse_model(TEXT).SerializeToString()
QUICK = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ODD_INTEGERS = st.sampled_from([0, -1, 1, 2**31 - 1, 2**62, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
ODD_TEXTS = st.sampled_from(["", "x", "y", "\0", "\n", "/etc/passwd", "..", "a" * 5000]) | st.text(max_size=5)


def loaded(content: bytes, folder: Path) -> str:
    """Load the model and return an empty text, or what it is refused with."""
    path = folder / "m.onnx"
    path.write_bytes(content)
    try:
        load_model(path)
    except ModelError as error:
        return error.message
    return ""


def test_the_model_itself_loads(tmp_path: Path) -> None:
    assert loaded(MODEL, tmp_path) == ""


@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), max_size=8), st.integers(0))
@example([], 1)
@QUICK
def test_bytes_changed_and_cut(tmp_path: Path, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(MODEL)
    for position, value in changes:
        content[position] = value
    assert "\n" not in loaded(bytes(content[: len(content) - cut % 3 * cut]), tmp_path)


@given(st.data())
@QUICK
def test_fields_changed(tmp_path: Path, data: st.DataObject) -> None:
    proto = onnx.ModelProto.FromString(MODEL)
    for _ in range(data.draw(st.integers(1, 3))):
        _change(proto, data)
    assert "\n" not in loaded(proto.SerializeToString(), tmp_path)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../m.onnx", "C:\\m.onnx", "..\\m.onnx", "a/../../m.onnx"]
)
def test_no_weight_is_read_from_elsewhere(tmp_path: Path, location: str) -> None:
    proto = onnx.ModelProto.FromString(MODEL)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    assert "leaves the model's folder" in loaded(proto.SerializeToString(), tmp_path)


def _change(proto: onnx.ModelProto, data: st.DataObject) -> None:
    """Set, clear, drop or double one field anywhere."""
    places = [(message, field) for message in _messages(proto) for field, _ in message.ListFields()]
    message, field = places[data.draw(st.integers(0, len(places) - 1))]
    values = getattr(message, field.name)
    if field.is_repeated:
        at = data.draw(st.integers(0, len(values) - 1))
        entry = values[at]
        if data.draw(st.booleans()):
            del values[at]
        else:
            values.append(entry)
    elif field.type in (field.TYPE_INT64, field.TYPE_STRING):
        numbers = field.type == field.TYPE_INT64
        setattr(message, field.name, data.draw(ODD_INTEGERS if numbers else ODD_TEXTS))
    else:
        message.ClearField(field.name)


def _messages(message: Any) -> list[Any]:
    found = [message]
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                found += _messages(inner)
    return found
