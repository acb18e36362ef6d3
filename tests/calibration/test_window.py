"""Patches times weights must give what onnxruntime's Conv gives, at the places drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.window import Window
from onnx_pare.graph.edit import add_initializer
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session

Array = np.ndarray
RNG = np.random.default_rng
ATTRIBUTES = {
    "plain": ("", 1),
    "valid": ('auto_pad = "VALID"', 1),
    "everything": ("strides = [2, 1], dilations = [1, 2], pads = [1, 0, 2, 3], group = 2", 2),
    "same": ('auto_pad = "SAME_UPPER", strides = [2, 3]', 1),
    "same, odd zero first": ('auto_pad = "SAME_LOWER", strides = [2, 2]', 1),
}


def conv(attributes: str, groups: int = 1) -> ir.Model:
    text = f"<{attributes}>" if attributes else ""
    model = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[n, 4, 9, 8] x, float[6, {4 // groups}, 3, 3] w) '
        f"=> (float[n, c, h, q] y) {{ y = Conv {text} (x, w) }}"
    )
    model.graph.inputs.pop()
    weight = RNG(1).normal(size=(6, 4 // groups, 3, 3)).astype(np.float32)
    model.graph[0].replace_input_with(1, add_initializer(model.graph, "weight", weight))
    return model


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("count", [7, 1000])
def test_patches_times_weights_are_the_outputs(name: str, count: int, tmp_path: Path):
    attributes, groups = ATTRIBUTES[name]
    model = conv(attributes, groups)
    write_model(model, tmp_path / "conv.onnx")
    x = RNG(0).normal(size=(3, 4, 9, 8)).astype(np.float32)
    (y,) = Session(tmp_path / "conv.onnx").run({"x": x})
    weight = model.graph.initializers["weight"].const_value.numpy()
    window = Window.of(model.graph[0], weight.shape)
    places = window.draw(x, count, RNG(2))
    assert len(places[0]) == min(count, y.size // 6)
    rows = weight.reshape(groups, 6 // groups, -1)
    computed = window.patches(x, places) @ rows.transpose(0, 2, 1)
    np.testing.assert_allclose(computed, window.outputs(y, places), atol=1e-4)


def test_a_window_is_read_from_the_attributes():
    shape = (4, 2, 3, 3)
    node = conv("strides = [2, 1], dilations = [1, 2], pads = [1, 0, 2, 3], group = 2", 2).graph[0]
    assert Window.of(node, shape) == Window((3, 3), (2, 1), (1, 2), (1, 0, 2, 3), 2)
    plain = Window((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), 1)
    assert (
        Window.of(conv("").graph[0], shape) == Window.of(conv('auto_pad = "VALID"').graph[0], shape) == plain
    )


def test_other_layers_look_at_rows():
    window = Window()
    x, y = RNG(0).normal(size=(2, 5, 3)), RNG(1).normal(size=(2, 5, 7))
    places = window.draw(x, 4, RNG(2))
    assert len(places) == 1
    np.testing.assert_array_equal(window.patches(x, places)[0], x.reshape(10, 3)[places[0]])
    np.testing.assert_array_equal(window.outputs(y, places)[0], y.reshape(10, 7)[places[0]])
