"""A model file read without its weights is the same model, its weights at their places in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from onnx_pare.graph import wire
from onnx_pare.graph.lean import parse_lean

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STREAMED_BYTES", 48)


def model(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], doc_string="product")
    x, y = (helper.make_tensor_value_info(name, 1, [1, size]) for name, size in (("x", 3), ("y", 4)))
    graph = helper.make_graph([node], "g", [x], [y], list(tensors))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.metadata_props.add(key="a", value="b")
    return made


def parsed(content: bytes, folder: Path) -> onnx.ModelProto:
    (folder / "m.onnx").write_bytes(content)
    return parse_lean(folder / "m.onnx")


def restored(lean: onnx.ModelProto, content: bytes, name: str = "m.onnx") -> onnx.ModelProto:
    """Put the weights that lie in the file of this content and name back into its message."""
    for tensor in lean.graph.initializer:
        places = {entry.key: entry.value for entry in tensor.external_data}
        if places.get("location") == name and "offset" in places:
            start = int(places["offset"])
            tensor.raw_data = content[start : start + int(places["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    return lean


def test_large_weights_stay_where_they_are(tmp_path: Path) -> None:
    large, small = numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(WEIGHT[0], "b")
    large.doc_string = "large"
    expected = model(large, small)
    content = expected.SerializeToString()
    found = parsed(content, tmp_path)
    tensor = found.graph.initializer[0]
    places = {entry.key: entry.value for entry in tensor.external_data}
    assert (places["location"], places["length"], tensor.HasField("raw_data")) == ("m.onnx", "48", False)
    assert found.graph.initializer[1] == small
    assert restored(found, content) == expected


def test_what_is_no_plain_raw_data_is_read_as_it_is(tmp_path: Path) -> None:
    typed = TensorProto(name="typed", dims=[12], data_type=1, float_data=WEIGHT.reshape(-1))
    apart = TensorProto(name="apart", dims=[3, 4], data_type=1, data_location=TensorProto.EXTERNAL)
    apart.external_data.add(key="location", value="w.bin" + 60 * "x")
    both = numpy_helper.from_array(WEIGHT, "both")
    both.external_data.add(key="location", value="w.bin")
    expected = model(typed, apart, both)
    assert parsed(expected.SerializeToString(), tmp_path) == expected


def test_real_models_are_the_same(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.onnx")):
        expected = onnx.load(path, load_external_data=False)
        assert restored(parse_lean(path), path.read_bytes(), path.name) == expected, path.name


def test_a_file_cut_anywhere_reads_as_protobuf_reads_it(tmp_path: Path) -> None:
    content = model(numpy_helper.from_array(WEIGHT, "w")).SerializeToString()
    for size in range(1, len(content)):
        cut = content[:size]
        try:
            expected = onnx.ModelProto.FromString(cut)
        except DecodeError:
            with pytest.raises(DecodeError):
                parsed(cut, tmp_path)
        else:
            assert restored(parsed(cut, tmp_path), cut) == expected


@pytest.mark.parametrize("content", [b"\xff" * 16, b"\x3b", b"\x3a\x05ab", b"\x3a" + b"\xff" * 9 + b"\x01"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"ten bytes|kind of field|beyond|cut short"):
        wire.without_weights(content, "m.onnx")
