from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration import walk as module
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.calibration.walk import Walk
from onnx_pare.errors import DataError
from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session

Array = np.ndarray
HEAD = '<ir_version: 8, opset_import: ["": 17]>\n'
CHAIN = """
g (float[N,4] x) => (float[N,4] y)
<float[4,4] w1 = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16},
 float[4,4] w2 = {1,0,2,0,3,0,4,0,5,0,6,0,7,0,8,0}> {
   k = Constant <value_float = 0.5> ()
   a = MatMul (x, w1)
   half = Mul (a, k)
   b = Relu (half)
   c = MatMul (b, w2)
   d = Add (c, b)
   y = Mul (d, k)
}"""
BRANCHES = """
g (float[N,4] x, bool flag) => (float[N,4] y) {
   a = Neg (x)
   b = Abs (a)
   y = If (flag) <
      then_branch = t () => (float[N,4] p) { h = Add (a, b)  p = Relu (h) },
      else_branch = e () => (float[N,4] q) { q = Identity (a) }>
}"""


def model_of(text: str) -> ir.Model:
    return ir.from_onnx_text(HEAD + text)


def value(model: ir.Model, name: str) -> ir.Value:
    return ir.convenience.create_value_mapping(model.graph, include_subgraphs=False)[name]


@pytest.fixture
def direct(tmp_path: Path) -> Callable[..., Array]:
    """Return what computes a value by one run of the whole model."""

    def compute(model: ir.Model, name: str, count: int = 5) -> Array:
        copy = model.clone()
        copy.graph.outputs[:] = [value(copy, name)]
        write_model(copy, tmp_path / "direct.onnx")
        session = Session(tmp_path / "direct.onnx")
        (feeds, _), *_ = synthetic_samples(model, count=count, seed=0).batches(count)
        return session.run({name: feeds[name] for name in session.inputs})[0]

    return compute


def start(model: ir.Model, scratch: Path, **options: int) -> Walk:
    return Walk(model, synthetic_samples(model, count=5, seed=0), scratch=scratch, **options)


def whole(walk: Walk, *values: ir.Value) -> list[Array]:
    return [np.concatenate(arrays) for arrays in zip(*walk.batches(*values), strict=True)]


@pytest.mark.parametrize("options", [{}, {"held_bytes": 0}, {"largest_bytes": module.BATCH_BYTES}])
def test_values_are_those_of_a_whole_run(
    options: dict[str, int], tmp_path: Path, direct: Callable[..., Array]
):
    model = model_of(CHAIN)
    with start(model, tmp_path, **options) as walk:
        for names in (["x"], ["a"], ["half", "b"], ["c"], ["b", "d"], ["y"]):
            found = whole(walk, *(value(model, name) for name in names))
            for name, array in zip(names, found, strict=True):
                np.testing.assert_allclose(array, direct(model, name), rtol=1e-6)
    assert [path for path in tmp_path.iterdir() if path.name != "direct.onnx"] == []


def test_nodes_that_have_not_run_may_change(tmp_path: Path, direct: Callable[..., Array]):
    model = model_of(CHAIN)
    with start(model, tmp_path) as walk:
        (before,) = whole(walk, value(model, "b"))
        set_constant(value(model, "w2"), np.eye(4, dtype=np.float32))
        found = whole(walk, value(model, "c"), value(model, "y"))
    np.testing.assert_allclose(found[0], before)
    np.testing.assert_allclose(found[1], direct(model, "y"))


def test_each_node_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []
    real = Walk._session

    def counting(self: Walk, inputs: list[ir.Value], outputs: list[ir.Value]) -> Session:
        graph = ir.convenience.extract(self._graph, inputs, outputs)
        ran.extend(node.op_type for node in graph if node.op_type != "Constant")
        return real(self, inputs, outputs)

    monkeypatch.setattr(Walk, "_session", counting)
    model = model_of(CHAIN)
    with start(model, tmp_path) as walk:
        for name in ("half", "c", "y"):
            whole(walk, value(model, name))
    assert sorted(ran) == ["Add", "MatMul", "MatMul", "Mul", "Mul", "Relu"]


def test_what_is_read_is_let_go(tmp_path: Path):
    model = model_of(CHAIN)
    with start(model, tmp_path) as walk:
        for name in ("a", "c", "y", "y"):
            whole(walk, value(model, name))
        assert {held.name for held in walk._held} == {"y"}
        with pytest.raises(ValueError, match="'a' is not held any more"):
            walk.batches(value(model, "a"))


@pytest.mark.parametrize("stop", ["a", "b"])
def test_branches_read_from_outside(stop: str, tmp_path: Path, direct: Callable[..., Array]):
    model = model_of(BRANCHES)
    with start(model, tmp_path) as walk:
        whole(walk, value(model, stop))
        (found,) = whole(walk, value(model, "y"))
    np.testing.assert_allclose(found, direct(model, "y"))


def test_a_fixed_batch_is_not_padded(tmp_path: Path):
    model = model_of(CHAIN.replace("[N,4]", "[3,4]"))
    with start(model, tmp_path) as walk:
        assert [len(array) for (array,) in walk.batches(value(model, "c"))] == [3, 2]


def test_a_model_that_does_not_run_is_said(tmp_path: Path):
    model = model_of(CHAIN)
    with start(model, tmp_path) as walk:
        set_constant(value(model, "w1"), np.ones((3, 3), np.float32))
        with pytest.raises(DataError, match="does not"):
            walk.batches(value(model, "y"))
