"""Errors made in one layer are taken back by the layers behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.edit import Names, set_constant
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.sparsity.fitting import Fitting
from onnx_pare.sparsity.layers import Layer, layer_of

Array = np.ndarray
RNG = np.random.default_rng
COUNT = 24
BLOCK = """<ir_version: 8, opset_import: ["": 17]>
g (float[N,6,9,9] x) => (float[N,6,9,9] y)
<float[6,6,3,3] w1, float[6,6,3,3] w2, float[6] b2, float[6,6,1,1] w3> {
   [first] a = Conv <pads = [1,1,1,1]> (x, w1)
   r = Relu (a)
   [second] c = Conv <pads = [1,1,1,1]> (r, w2, b2)
   [third] p = Conv (x, w3)
   y = Add (c, p)
}"""


def block(swapped: bool = False) -> ir.Model:
    """Return a residual block with a projection, which may come before the other branch."""
    text = BLOCK
    if swapped:
        line = "   [third] p = Conv (x, w3)\n"
        text = text.replace(line, "").replace("   [first]", line + "   [first]")
    from onnx import numpy_helper, parser

    proto = parser.parse_model(text)
    for value in list(proto.graph.value_info):
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = RNG(ord(value.name[-1])).normal(size=shape).astype(np.float32) / 6
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
    del proto.graph.value_info[:]
    return ir.from_proto(proto)


def layers(model: ir.Model) -> dict[str, Layer]:
    found = {node.name or "": layer_of(node) for node in model.graph}
    return {name: layer for name, layer in found.items() if layer is not None}


def spoil(model: ir.Model, name: str) -> None:
    """Take a layer's smaller weights away."""
    layer = layers(model)[name]
    weight = layer.weight()
    set_constant(layer.node.inputs[1], np.where(np.abs(weight) < 0.12, 0, weight).astype(np.float32))


def error(changed: ir.Model, original: ir.Model, folder: Path) -> float:
    outputs = []
    for model in (original, changed):
        write_model(model, folder / "m.onnx")
        session = Session(folder / "m.onnx")
        outputs.append([session.run(feeds)[0] for feeds in synthetic_samples(original, count=COUNT, seed=1)])
    a, b = map(np.concatenate, outputs)
    return float(np.square(a - b).sum() / np.square(a).sum())


def refit(original: ir.Model, changed: ir.Model, names: list[str], folder: Path) -> None:
    found, free = layers(changed), Names(changed)
    samples = synthetic_samples(original, count=COUNT, seed=0)
    with Fitting(original, changed, [found[n].node for n in names], samples, scratch=folder) as fitting:
        for name in names:
            given = fitting.statistics(found[name]).ridged(found[name].rows())
            weights = given.solve()
            found[name].put(weights, given.bias(weights), free)


def test_a_layer_behind_takes_errors_back(tmp_path: Path):
    original, changed = block(), block()
    spoil(changed, "first")
    before = error(changed, original, tmp_path)
    refit(original, changed, ["second"], tmp_path)
    assert error(changed, original, tmp_path) < 0.9 * before


@pytest.mark.parametrize("swapped", [False, True])
def test_the_last_branch_of_a_sum_takes_back_errors_of_the_other(swapped: bool, tmp_path: Path):
    """The projection alone knows nothing of the other branch; joined, it comes nearer to the sum."""
    original, changed = block(swapped), block(swapped)
    spoil(changed, "third" if swapped else "first")
    before = error(changed, original, tmp_path)
    refit(original, changed, ["first", "second"] if swapped else ["third"], tmp_path)
    after = error(changed, original, tmp_path)
    assert after < before


def test_a_branch_that_waits_is_not_run_early(tmp_path: Path):
    """`second` is fitted before `third`, its other branch: joined, `third` would have run unfitted."""
    original, changed = block(), block()
    spoil(changed, "first")
    refit(original, changed, ["second", "third"], tmp_path)
    twice = block()
    spoil(twice, "first")
    refit(original, twice, ["second"], tmp_path)
    assert error(changed, original, tmp_path) <= error(twice, original, tmp_path) * 1.02


def test_an_unchanged_network_stays(tmp_path: Path):
    original, changed = block(), block()
    refit(original, changed, ["first", "second", "third"], tmp_path)
    assert error(changed, original, tmp_path) < 1e-8
