"""Streaming gives the very bytes that protobuf gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.graph import wire
from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize
from onnx_pare.graph.stream import write_inline


def test_real_models_give_the_same_bytes(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "STREAMED_BYTES", 100)
    for source in sorted((shared / "models").glob("*.onnx")):
        model = load_model(source)
        write_inline(model, tmp_path / "m.onnx")
        assert (tmp_path / "m.onnx").read_bytes() == serialize(model), source.name


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT, ir.DataType.INT4, ir.DataType.BFLOAT16])
def test_all_kinds_of_tensors(dtype: ir.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STREAMED_BYTES", 1)
    text = """<ir_version: 10, opset_import: ["" : 21]>
        g (float[3] x) => (float[3] y) <float[3] w = {1,2,3}, string[1] s = {"a"}, float[3] typed = {4,5,6}> {
            y = Add(x, w)
        }"""
    proto = onnx.parser.parse_model(text)
    proto.metadata_props.add(key="a", value="b")
    onnx.save(proto, tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    set_constant(model.graph.initializers["w"], np.array([7, 8, 9], np.float32))
    odd = ir.Tensor(np.array([1, 2, 3]).astype(dtype.numpy()), dtype=dtype, name="odd", doc_string="why")
    odd.metadata_props["key"] = "value"
    model.graph.register_initializer(ir.Value(name="odd", const_value=odd))
    before = serialize(model)
    write_inline(model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == before
    assert serialize(model) == before
    assert onnx.load(tmp_path / "out.onnx").graph.initializer[-1].doc_string == "why"
