"""Whatever the file, loading gives a model or a ModelError that says what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model, sha256, size_bytes
from onnx_pare.graph.save import tensors, write_model
from onnx_pare.graph.session import Session

SMALL = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N,3] x) => (float[N,2] y) <float[3,2] w = {1,2,3,4,5,6}, float[2] b = {0.5,-0.5}> {
        h = Gemm(x, w, b)
        y = Relu(h)
    }"""


def small() -> onnx.ModelProto:
    return onnx.parser.parse_model(SMALL)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def read_all(path: Path) -> None:
    """Load the model and read every weight, as a pass would."""
    for tensor in tensors(load_model(path)):
        tensor.numpy()


def test_loads_and_keeps_names(tmp_path: Path) -> None:
    model = load_model(saved(small(), tmp_path))
    assert [node.op_type for node in model.graph] == ["Gemm", "Relu"]
    assert set(model.graph.initializers) == {"w", "b"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"hello, this is not a model at all", "not an ONNX"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "not an ONNX"),
        (json.dumps({"irVersion": "8", "graph": {"node": []}}).encode(), "not an ONNX"),
        (text_format.MessageToString(small()).encode(), "not an ONNX"),
        (SMALL.encode(), "not an ONNX"),
        (b"PK\x03\x04" + bytes(64), "not an ONNX"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
    ],
)
def test_not_a_model(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ModelError, match="no regular file"):
        load_model(tmp_path / "fifo")
    for name in ("n" * 300, "a\0b"):
        with pytest.raises(ModelError, match=r"cannot be read|no such file"):
            load_model(tmp_path / name)


def test_cut_short_anywhere(tmp_path: Path) -> None:
    content = small().SerializeToString()
    path, loaded = tmp_path / "m.onnx", 0
    for size in range(len(content)):
        path.write_bytes(content[:size])
        try:
            read_all(path)
            loaded += 1
        except ModelError:
            continue
    assert loaded == 0


def test_damaged_anywhere(tmp_path: Path) -> None:
    """Flipped bytes give a model or a ModelError, never another exception."""
    content = small().SerializeToString()
    path, rng = tmp_path / "m.onnx", np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            model = load_model(path)
        except ModelError:
            continue
        for tensor in tensors(model):
            tensor.numpy()
        write_model(model, tmp_path / "again.onnx")


def test_no_opset_is_refused(tmp_path: Path) -> None:
    proto = small()
    del proto.opset_import[:]
    with pytest.raises(ModelError, match="names no opset"):
        load_model(saved(proto, tmp_path))


def test_invalid_node_is_refused(tmp_path: Path) -> None:
    proto = small()
    proto.graph.node[0].attribute.append(helper.make_attribute("alpha", "text"))
    with pytest.raises(ModelError, match="not a valid model"):
        load_model(saved(proto, tmp_path))


def test_training_graphs_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    proto = small()
    proto.training_info.add().algorithm.name = "adam"
    load_model(saved(proto, tmp_path))
    assert "training graphs are left out" in caplog.text


def test_local_functions_survive(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "mine" : 1]>
        g (float[2] x) => (float[2] y) { y = mine.twice(x) }
        <domain: "mine", opset_import: ["" : 17]>
        twice (a) => (b) { two = Constant <value = float {2.0}> () b = Mul(a, two) }"""
    path, again = saved(onnx.parser.parse_model(text), tmp_path), tmp_path / "again.onnx"
    write_model(load_model(path), again)
    (y,) = Session(again).run({"x": np.array([1, 2], np.float32)})
    np.testing.assert_array_equal(y, [2, 4])


def test_constants_of_every_form_survive(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y, int64[2] i, string[1] s) {
            a = Constant <value_float = 2.0> ()
            c = Constant <value_floats = [1.0, 2.0]> ()
            i = Constant <value_ints = [1, 2]> ()
            k = Constant <value_int = 3> ()
            s = Constant <value_strings = ["hi"]> ()
            f = Cast <to = 1> (k)
            xa = Mul(x, a)
            xc = Add(xa, c)
            y = Sub(xc, f)
        }"""
    path, again = saved(onnx.parser.parse_model(text), tmp_path), tmp_path / "again.onnx"
    write_model(load_model(path), again)
    y, i, s = Session(again).run({"x": np.array([1, 1], np.float32)})
    np.testing.assert_array_equal(y, [0, 1])
    assert list(i) == [1, 2]
    assert list(s) == ["hi"]


@pytest.mark.parametrize(
    "kind", ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT4", "UINT4", "FLOAT16", "BOOL"]
)
def test_rare_types_survive(kind: str, tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(SMALL.replace("17]", "23]").replace("version: 8", "version: 11"))
    proto.graph.initializer.append(helper.make_tensor("odd", getattr(TensorProto, kind), [3], [1, 0, 1]))
    model = load_model(saved(proto, tmp_path))
    before = model.graph.initializers["odd"].const_value
    write_model(model, tmp_path / "again.onnx")
    after = load_model(tmp_path / "again.onnx").graph.initializers["odd"].const_value
    assert before is not None
    assert after is not None
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after.numpy(), before.numpy())


def test_real_models_load(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.onnx")):
        read_all(path)


def test_size_counts_external_files_once(tmp_path: Path) -> None:
    proto = small()
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    path = tmp_path / "m.onnx"
    assert size_bytes(path) == path.stat().st_size + (tmp_path / "w.bin").stat().st_size


def test_sha256_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert sha256(path).startswith("ba7816bf8f01cfea")


def test_weights_of_functions_and_subgraphs_may_be_external(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, bool c) => (float[2] y) {
            y = If (c) <then_branch = t () => (float[2] a) { a = Add(x, w) },
                        else_branch = e () => (float[2] b) { b = Identity(x) }>
        }"""
    proto = onnx.parser.parse_model(text)
    branch = proto.graph.node[0].attribute[0].g
    branch.initializer.append(numpy_helper.from_array(np.array([3, 4], np.float32), "w"))
    external = branch.initializer[0]
    (tmp_path / "w.bin").write_bytes(external.raw_data)
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    external.external_data.add(key="location", value="w.bin")
    path, again = saved(proto, tmp_path), tmp_path / "sub" / "again.onnx"
    again.parent.mkdir()
    write_model(load_model(path), again)
    (y,) = Session(again).run({"x": np.zeros(2, np.float32), "c": np.array(True)})
    np.testing.assert_array_equal(y, [3, 4])
