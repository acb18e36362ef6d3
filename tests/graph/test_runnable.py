"""Large models keep their weights in files, and compute the same from there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnx_pare.errors import ModelError, OutputError
from onnx_pare.graph import lean, wire
from onnx_pare.graph.load import load_model, model_files, size_bytes
from onnx_pare.graph.mapped import hold_at
from onnx_pare.graph.normalize import name_nodes
from onnx_pare.graph.runnable import is_large, runnable
from onnx_pare.graph.save import data_file, serialize, write_model
from onnx_pare.graph.session import Session

SHAPES = {"a": (16, 32), "b": (32, 5), "c": (5,)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the file of two products and a sum; all weights inside."""
    net = ir.from_onnx_text(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 5] y)
        { h = MatMul(x, a) r = Relu(h) p = MatMul(r, b) y = Add(p, c) }"""
    )
    values, rng = ir.convenience.create_value_mapping(net.graph), np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values[name].const_value = ir.tensor(rng.normal(size=shape).astype(np.float32), name=name)
        net.graph.register_initializer(values[name])
    write_model(net, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for a large one, and weights of 600 bytes too (`a` and `b`)."""
    monkeypatch.setattr(lean, "LARGE_BYTES", 1)
    monkeypatch.setattr(wire, "STREAMED_BYTES", 600)


def outputs(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(3, 16)).astype(np.float32)
    return Session(path).run({"x": x})[0]


def weights(net: ir.Model) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in net.graph.initializers.items()}


def test_a_small_model_is_loaded_from_its_own_file(model: Path, tmp_path: Path) -> None:
    assert not is_large(model, model)
    assert runnable(model, tmp_path) == model


def test_small_numbers_that_become_floats_as_the_model_loads_count_as_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[1,64] x) => (float[1,64] y) { w = Cast<to = 1>(codes)  y = MatMul(x, w) }"""
    )
    net.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 64), np.int8), "codes"))
    onnx.save(net, tmp_path / "cast.onnx")
    monkeypatch.setattr(lean, "LARGE_BYTES", 64 * 64 * 4)
    assert (tmp_path / "cast.onnx").stat().st_size < 64 * 64 * 1.2
    assert is_large(tmp_path / "cast.onnx")
    net.graph.node[0].op_type = "DequantizeLinear"  # restored in each run, and never held
    onnx.save(net, tmp_path / "dequantized.onnx")
    assert not is_large(tmp_path / "dequantized.onnx")


def test_of_a_large_one_the_weights_are_laid_beside_a_copy(model: Path, tmp_path: Path, large) -> None:
    expected = outputs(model)
    copy = runnable(model, tmp_path)
    assert is_large(model)
    assert copy.name == model.name
    assert copy.parent != model.parent
    proto = onnx.load(copy, load_external_data=False)
    apart = [t.name for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert apart == ["a", "b"]
    assert {
        entry.value for t in proto.graph.initializer for entry in t.external_data if entry.key == "offset"
    } == {
        "0",
        "4096",
    }
    onnx.checker.check_model(copy)
    np.testing.assert_array_equal(outputs(copy), expected)
    assert runnable(copy, tmp_path) == copy  # they lie beside it already


def test_loading_leaves_them_in_the_file(model: Path, tmp_path: Path, large) -> None:
    net = load_model(model)
    expected = ir.load(model)
    assert [type(v.const_value) for v in net.graph.initializers.values()][:2] == [ir.LazyTensor] * 2
    for name, array in weights(expected).items():
        np.testing.assert_array_equal(weights(net)[name], array)
    name_nodes(expected)
    write_model(net, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == serialize(expected)
    assert model_files(model) == [model]
    assert size_bytes(model) == model.stat().st_size


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_large_file_may_be_a_link(model: Path, tmp_path: Path, large, link) -> None:
    (tmp_path / "links").mkdir()
    link(model, tmp_path / "links" / "net.onnx")
    net = load_model(tmp_path / "links" / "net.onnx")
    np.testing.assert_array_equal(weights(net)["a"], weights(load_model(model))["a"])


def test_a_look_at_a_weight_does_not_last(model: Path, tmp_path: Path, large) -> None:
    net = load_model(runnable(model, tmp_path))

    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(data_file(model).name)

    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    array = net.graph.initializers["a"].const_value.numpy()
    assert mapped() == 1
    assert array.sum() != 0
    del array
    assert mapped() == 0


def test_a_model_is_held_at_the_file_it_was_written_to(model: Path, tmp_path: Path, large) -> None:
    net = ir.load(model)
    before = weights(net)
    hold_at(net, runnable(model, tmp_path))
    kinds = {name: type(value.const_value) for name, value in net.graph.initializers.items()}
    assert [name for name, kind in kinds.items() if kind is ir.LazyTensor] == ["a", "b"]
    for name, array in weights(net).items():
        np.testing.assert_array_equal(array, before[name])


def test_no_room_for_the_copy_is_said(model: Path, tmp_path: Path, large) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        runnable(model, tmp_path / "nowhere")


def test_a_large_file_that_is_damaged_is_refused_as_a_small_one(model: Path, large) -> None:
    content = model.read_bytes()
    model.write_bytes(content[:-40])
    with pytest.raises(ModelError, match="not an ONNX file, or cut short"):
        load_model(model)
