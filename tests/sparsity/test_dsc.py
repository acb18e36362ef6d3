"""Depthwise-separable nodes compute what the dense product of their factors computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.graph.edit import Names
from onnx_pare.sparsity.dsc import Dsc, Form
from onnx_pare.sparsity.layers import layer_of
from onnx_pare.sparsity.substitution import bias_of
from tests.conftest import with_weights
from tests.sparsity.nets import error, residual, shapes_of

CONVS = {
    "plain": ("float[N, 4, 9, 8] x", "", (6, 4, 3, 3)),
    "stride, pads, dilation": (
        "float[N, 4, 9, 8] x",
        "<strides = [2, 1], pads = [1, 0, 2, 3], dilations = [1, 2]>",
        (6, 4, 3, 3),
    ),
    "auto_pad": ("float[N, 4, 9, 8] x", '<auto_pad = "SAME_UPPER", strides = [2, 2]>', (6, 4, 3, 3)),
    "one channel": ("float[N, 1, 9, 8] x", "<kernel_shape = [3, 3]>", (6, 1, 3, 3)),
    "1-D": ("float[N, 4, 9] x", "<pads = [1, 1]>", (6, 4, 3)),
    "3-D": ("float[N, 3, 4, 5, 6] x", "", (4, 3, 2, 1, 3)),
}


def conv(name: str, *, biased: bool = True) -> ir.Model:
    source, attributes, shape = CONVS[name]
    bias, given = (", b", f", float[{shape[0]}] b") if biased else ("", "")
    dims = ",".join(map(str, shape))
    shapes = {"w": shape, **({"b": (shape[0],)} if biased else {})}
    text = (
        f"g ({source}, float[{dims}] w{given}) => (float[n] y) {{ [c] y = Conv {attributes} (x, w{bias}) }}"
    )
    model = with_weights(text, **shapes)
    model.graph.outputs[0].shape = None
    return model


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("form", ["sum", "concat", "multiplier"])
def test_a_full_rank_computes_the_same(name: str, form: Form, tmp_path: Path):
    original, model = conv(name), conv(name)
    kind, layer = Dsc(form), layer_of(model.graph[0])
    assert layer is not None
    assert kind.refuses(layer) == ""
    rank = kind.ranks(layer)[-1]
    kind.emit(layer, kind.decompose(layer, rank), bias_of(layer), Names(model))
    assert {node.op_type for node in model.graph} <= {"Conv", "Add", "Concat"}
    assert error(model, original, tmp_path) < 1e-10
    assert not [name for name in ("w", "b") if name in model.graph.initializers]


@pytest.mark.parametrize("biased", [True, False])
def test_all_forms_of_a_rank_compute_the_same(biased: bool, tmp_path: Path):
    made = []
    for form in ("sum", "concat", "multiplier"):
        model = conv("plain", biased=biased)
        layer = layer_of(model.graph[0])
        assert layer is not None
        kind = Dsc(form)
        kind.emit(layer, kind.decompose(layer, 2), bias_of(layer), Names(model))
        made.append(model)
    assert [sorted(node.op_type for node in model.graph) for model in made] == [
        ["Add", "Conv", "Conv", "Conv", "Conv"],
        ["Concat", "Conv", "Conv", "Conv"],
        ["Conv", "Conv"],
    ]
    assert max(error(model, made[0], tmp_path) for model in made) < 1e-10


def test_macs_are_those_of_the_design():
    """A 3×3 depthwise convolution over 112×112×64, and the pointwise one to 128 channels behind it."""
    model = with_weights(
        "g (float[1, 64, 112, 112] x, float[128, 64, 3, 3] w) => (float[1, 128, 112, 112] y) "
        "{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }",
        w=(128, 64, 3, 3),
    )
    layer = layer_of(model.graph[0])
    assert layer is not None
    assert 112 * 112 * Dsc().macs(layer, 1) == 7_225_344 + 102_760_448 == 109_985_792
    assert 112 * 112 * layer.weight().size == 924_844_032


def test_a_sum_becomes_part_of_the_chain(tmp_path: Path):
    original, model = residual(), residual()
    kind = Dsc("sum", shapes_of(model))
    layer = layer_of(next(node for node in model.graph if node.name == "two"))
    assert layer is not None
    kind.emit(layer, kind.decompose(layer, 9), None, Names(model))
    assert error(model, original, tmp_path) < 1e-10
    adds = [node for node in model.graph if node.op_type == "Add"]
    assert len(adds) == 9
    assert adds[-1].outputs[0].name == "s"
    # the input joins at the first pair, so that no sum is left that a convolution does not end in
    assert "x" in {value.name for value in adds[0].inputs}


def test_what_is_refused():
    model = residual()
    convolutions = [node for node in model.graph if node.op_type in Dsc.ops]
    found = {node.name: Dsc().refuses(layer) for node in convolutions if (layer := layer_of(node))}
    assert found == {
        "one": "",
        "two": "",
        "three": "a grouped or depthwise convolution",
    }
    pointwise = with_weights(
        "g (float[1,4,5,5] x, float[4,4,1,1] w) => (float[n] y) { y = Conv (x, w) }", w=(4, 4, 1, 1)
    )
    layer = layer_of(pointwise.graph[0])
    assert layer is not None
    assert Dsc().refuses(layer) == "a pointwise convolution"
    assert np.prod(layer.window.kernel) == 1
