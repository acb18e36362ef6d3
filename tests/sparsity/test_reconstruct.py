"""Layers pruned one after the other come nearer to the original than with their smallest weights zeroed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.data import open_samples
from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.passes.base import Context
from onnx_pare.passes.prune_magnitude import PruneMagnitude
from onnx_pare.sparsity import reconstruct
from onnx_pare.sparsity.prunable import find
from onnx_pare.sparsity.reconstruct import Target, target_of

Array = np.ndarray
RNG = np.random.default_rng
HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
RESIDUAL = """
g (float[N,4,8,8] x) => (float[N,5] y)
<float[8,4,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[8,1,3,3] w3, float[8,8] w4, float[5,8] w5> {
   c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
   r1 = Relu (c1)
   c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
   s = Add (c2, r1)
   d = Conv <pads = [1, 1, 1, 1], group = 8> (s, w3)
   r2 = Relu (d)
   p = GlobalAveragePool (r2)
   f = Flatten (p)
   m = MatMul (f, w4)
   y = Gemm <transB = 1> (m, w5)
}"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    from onnx import numpy_helper, parser

    proto = parser.parse_model(HEAD + RESIDUAL)
    made = {output for node in proto.graph.node for output in node.output}
    for index, value in enumerate([value for value in proto.graph.value_info if value.name not in made]):
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = RNG(index).normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1))
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), value.name))
    del proto.graph.value_info[:]
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def images(count: int, seed: int) -> Array:
    """Return smooth inputs: neighbours resemble each other, as they do in photographs."""
    x = RNG(seed).normal(size=(count, 4, 8, 8)).cumsum(axis=2).cumsum(axis=3)
    return (x / x.std()).astype(np.float32)


def pruned(net: Path, data: Array | None = None, **options: Any) -> tuple[ir.Model, Any]:
    model = load_model(net)
    path = net.with_name("data.npz")
    np.savez(path, x=images(64, 0) if data is None else data)
    context = Context(open_samples(path, model), net.parent)
    outcome = PruneMagnitude(PruneMagnitude.Options(**options)).apply(model, context)
    return outcome.model, outcome.notes


def error(net: Path, model: ir.Model) -> float:
    """Return the error of the outputs on data that was not seen, as a share of their energy."""
    target = net.with_name("pruned.onnx")
    write_model(model, target)
    x = images(200, 1)
    before, after = (Session(path).run({"x": x})[0] for path in (net, target))
    return float(np.square(after - before).sum() / np.square(before - before.mean(axis=0)).sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scope": "global"},
        {"pattern": "2:4"},
        {"block": [1, 3]},
        {"block": [2, 1]},
        {"skip": ["op:Gemm"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("work", [1e9, 0])
def test_outputs_stay_nearer_than_by_magnitude(
    options: dict[str, Any], work: float, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "EXACT_MACS", work)
    model, notes = pruned(net, **options)
    plain, expected = pruned(net, method="magnitude", **options)
    ragged = 2 if "block" in options else 0  # blocks at an edge are smaller
    assert abs(notes["zeros_after"] - expected["zeros_after"]) <= ragged
    assert error(net, model) < 0.5 * error(net, plain)
    for layer in notes["layers"]:
        if layer["zeros_after"]:
            assert layer["output_sqnr_db_fitted"] >= layer["output_sqnr_db_zeroed"]


def test_zeros_stay_and_a_second_run_changes_nothing(net: Path) -> None:
    model = load_model(net)
    weight = find(model)[0][1]
    some = RNG(0).random(weight.read().shape) < 0.3
    set_constant(weight.value, np.where(some, np.float32(0), weight.read()))
    write_model(model, net)
    model, notes = pruned(net)
    assert (find(model)[0][1].read()[some] == 0).all()
    assert notes["layers"][1]["zeros_after"] == 8 * 8 * 9 // 2
    write_model(model, net)
    assert (pruned(net)[1]["zeros_after"], error(net, pruned(net)[0])) == (notes["zeros_after"], 0)


def test_a_layer_that_sees_nothing_finite_goes_by_magnitude(net: Path) -> None:
    _, notes = pruned(net, np.full((4, 4, 8, 8), 3e38, np.float32))
    assert notes["layers"][0]["not_fitted"] == "its inputs or outputs are not finite"
    assert notes["zeros_after"] == sum(layer["weights"] // 2 for layer in notes["layers"])


def test_a_dead_input_harms_nothing(net: Path) -> None:
    model, _ = pruned(net, np.zeros((4, 4, 8, 8), np.float32))
    assert all(np.isfinite(weight.read()).all() for weight in find(model)[0])


LEFT = {
    "several nodes share its weights": "a = MatMul (x, w)  y = MatMul (a, w)",
    "it transposes": "y = Gemm <alpha = 2.0> (x, w)",
    "it has 4 inputs, more than 3": "y = MatMul (x, w)",
    "it is inside of a subgraph": """y = If (c) <
        then_branch = t () => (float[N,4] p) { p = MatMul (x, w) },
        else_branch = e () => (float[N,4] q) { q = Identity (x) }>""",
}


@pytest.mark.parametrize("reason", LEFT)
def test_what_is_not_fitted(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = ", ".join(map(str, range(16)))
    ports = f"(bool[1] c, float[N,4] x) => (float[N,4] y) <float[4,4] w = {{{numbers}}}>"
    monkeypatch.setattr(reconstruct, "MOST_INPUTS", 3)
    model = ir.from_onnx_text(f"{HEAD} g {ports} {{ {LEFT[reason]} }}")
    (weight,), _ = find(model)
    found = target_of(weight, model.graph)
    assert not isinstance(found, Target)
    assert found.startswith(reason)
