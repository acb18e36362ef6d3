"""Raising the opset keeps the numbers, the names and the metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.checker
import onnx.parser
import pytest

from onnx_pare.errors import ModelError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.opset import raise_opset
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Feeds, Session
from onnx_pare.graph.signature import signature

OLD_MODELS = {
    "dropout and batch norm, opset 7": """<ir_version: 3, opset_import: ["" : 7]>
        g (float[1,4,2,2] x, float[4] s) => (float[1,4,2,2] y, float[1,4,2,2] z) <float[4] s = {1,1,2,2}> {
            dropped = Dropout <ratio=0.5> (x)
            a = BatchNormalization(dropped, s, s, s, s)
            y = Clip <min=0.0, max=1.0> (a)
            z = Softmax <axis=1> (a)
        }""",
    "upsample, opset 7": """<ir_version: 6, opset_import: ["" : 7]>
        g (float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Upsample <scales=[1.0,1.0,2.0,2.0]> (x) }""",
    "pad, opset 10": """<ir_version: 6, opset_import: ["" : 10]>
        g (float[1,1,2,2] x) => (float[1,1,4,4] y) { y = Pad <pads=[0,0,1,1,0,0,1,1], value=2.0> (x) }""",
    "captured weight in If": """<ir_version: 6, opset_import: ["" : 11]>
        g (float[2,1,3] x, bool c) => (float[2,3] y) <float[2,1,3] w = {1,2,3,4,5,6}> {
            y = If (c) <
                then_branch = t () => (float[2,3] a) { q = Add(x, w) a = Squeeze <axes=[1]> (q) },
                else_branch = e () => (float[2,3] b) { r = Sub(x, w) b = Squeeze <axes=[1]> (r) }>
        }""",
    "microsoft domain": """<ir_version: 6, opset_import: ["" : 11, "com.microsoft": 1]>
        g (float[1,4] x) => (float[4] y) { a = com.microsoft.Gelu(x) y = Squeeze <axes=[0]> (a) }""",
}


def feeds(path: Path) -> Feeds:
    model = load_model(path)
    rng = np.random.default_rng(0)
    made: Feeds = {}
    for port in signature(model).inputs:
        shape = [d if isinstance(d, int) else {"length": 24}.get(str(d), 1) for d in port.shape or ()]
        made[port.name] = np.asarray(rng.standard_normal(shape) * 10).astype(port.dtype)
    return made


def check_same_numbers(before: Path, after: Path) -> None:
    inputs = feeds(before)
    for a, b in zip(Session(before).run(inputs), Session(after).run(inputs), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", OLD_MODELS.values(), ids=OLD_MODELS)
def test_keeps_the_numbers(text: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.onnx", tmp_path / "new.onnx"
    onnx.save(onnx.parser.parse_model(text), old)
    model = load_model(old)
    raised = raise_opset(model, 13)
    assert raised.opset_imports[""] == 13
    assert signature(raised) == signature(model)
    write_model(raised, new)
    onnx.checker.check_model(str(new), full_check=True)
    check_same_numbers(old, new)


@pytest.mark.parametrize(
    "name",
    ["mnist_lenet_tengine", "ultraface_rfb320", "fastestdet_coco", "dtln_1", "alibaba_mobilenet_cifar10",
     "nnsplit_en"],
)  # fmt: skip
def test_real_models_keep_numbers_and_names(name: str, shared: Path, tmp_path: Path) -> None:
    old, new = shared / "models" / f"{name}.onnx", tmp_path / "new.onnx"
    model = load_model(old)
    raised = raise_opset(model, 15)
    write_model(raised, new)
    check_same_numbers(old, new)
    assert signature(raised) == signature(model)
    assert {node.name for node in model.graph} <= {node.name for node in raised.graph}
    assert set(model.graph.initializers) <= set(raised.graph.initializers)


def test_leaves_the_given_model_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(OLD_MODELS["captured weight in If"]), path)
    model = load_model(path)
    raise_opset(model, 13)
    write_model(model, tmp_path / "again.onnx")
    assert model.opset_imports[""] == 11
    check_same_numbers(path, tmp_path / "again.onnx")


def test_new_enough_is_untouched(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(OLD_MODELS["pad, opset 10"]), path)
    model = load_model(path)
    assert raise_opset(model, 10) is model


def test_keeps_metadata_and_large_weights(tmp_path: Path) -> None:
    text = """<ir_version: 6, opset_import: ["" : 9]>
        g (float[2,64] x) => (float[2,64] y) { h = MatMul(x, w) y = Dropout(h) }"""
    proto = onnx.parser.parse_model(text)
    weight = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    proto.graph.node[0].name = "the product"
    proto.graph.node[0].doc_string = "said so"
    proto.metadata_props.add(key="split", value="yes")
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    model = load_model(path)
    model.graph[0].metadata_props["pare.kept"] = "1"
    raised = raise_opset(model, 13)
    assert raised.metadata_props["split"] == "yes"
    assert raised.graph[0].name == "the product"
    assert raised.graph[0].doc_string == "said so"
    assert raised.graph[0].metadata_props["pare.kept"] == "1"
    assert raised.graph.initializers["w"].const_value is model.graph.initializers["w"].const_value


def test_refusal_says_what_to_do(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["" : 8]>
        g (float[1,3,2] x, float[1,2] i) => (float[1,2] f, float[1,3,2] y) {
            f, y = Scan <num_scan_inputs=1, body = b (float[2] s, float[2] e) => (float[2] so, float[2] o) {
                so = Add(s, e) o = Identity(so) }> ("", i, x)
        }"""
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(ModelError, match=r"opset 8 must be raised to 13.*Scan") as caught:
        raise_opset(load_model(path), 13)
    assert "Export the model again" in caught.value.hint
