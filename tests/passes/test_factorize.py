from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.errors import PassError
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.factorize import Factorize
from tests.conftest import with_weights
from tests.sparsity.nets import error, macs_of

MakeContext = Callable[..., Context]


def perceptron() -> ir.Model:
    """Return three layers, the weights of the middle one of rank 6 but for a little noise."""
    model = with_weights(
        """g (float[N, 32] x, float[32, 64] a, float[64] b, float[64, 64] c, float[64, 10] d)
            => (float[N, 10] y) {
            [one] h = Gemm (x, a, b)
            r = Relu (h)
            [two] t = MatMul (r, c)
            s = Relu (t)
            [three] y = MatMul (s, d)
        }""",
        a=(32, 64),
        b=(64,),
        c=(64, 64),
        d=(64, 10),
    )
    rng = np.random.default_rng(0)
    low = rng.normal(size=(64, 6)) @ rng.normal(size=(6, 64)) / 24 + 0.001 * rng.normal(size=(64, 64))
    value = model.graph.initializers["c"]
    value.const_value = ir.tensor(low.astype(np.float32), name="c")
    return model


@pytest.fixture
def run(context: MakeContext) -> Callable[..., Outcome]:
    def apply(model: ir.Model, samples: int = 200, **options: object) -> Outcome:
        setting = context(model, count=samples)
        return Factorize(Factorize.Options.model_validate(options)).apply(model.clone(), setting)

    return apply


def test_the_layer_of_low_rank_is_found(run, tmp_path: Path):
    model = perceptron()
    outcome = run(model, macs_ratio=0.75)
    assert [note["layer"] for note in outcome.notes["layers"]] == ["two"]
    assert sum(macs_of(outcome.model).values()) <= 0.75 * sum(macs_of(model).values())
    assert error(outcome.model, model, tmp_path) < 1e-3


def test_given_ranks_and_what_stays(run):
    outcome = run(perceptron(), ranks={"*": 8})
    assert {note["layer"]: note["rank"] for note in outcome.notes["layers"]} == {
        "one": 8,
        "two": 8,
        "three": 8,
    }
    assert [node.op_type for node in outcome.model.graph] == [
        *("MatMul", "Gemm", "Relu", "MatMul", "MatMul", "Relu", "MatMul", "MatMul")
    ]
    outcome = run(perceptron(), ranks={"three": 9})
    assert outcome.changed == 0
    assert "no fewer MACs" in outcome.notes["left_alone"]["three"]


def test_a_share_that_cannot_be_had(run):
    with pytest.raises(PassError, match=r"pass factorize: macs_ratio 0\.001 cannot be reached"):
        run(perceptron(), macs_ratio=0.001)


def test_other_convolutions_are_left(run):
    model = with_weights(
        """g (float[1, 8, 7, 7] x, float[8, 8, 3, 3] a, float[8, 8, 1, 1] b) => (float[1, 8, 5, 5] y) {
            [one] h = Conv (x, a)
            [two] y = Conv (h, b)
        }""",
        a=(8, 8, 3, 3),
        b=(8, 8, 1, 1),
    )
    outcome = run(model, ranks={"two": 2})
    assert [note["layer"] for note in outcome.notes["layers"]] == ["two"]
    assert "one" in outcome.notes["left_alone"]
