from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from onnx_pare.cost.count import count
from onnx_pare.errors import PassError, UsageError
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import serialize
from onnx_pare.graph.shapes import infer, input_shapes
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.simplify import Simplify
from onnx_pare.passes.substitute_dsc import SubstituteDsc
from tests.conftest import with_weights
from tests.sparsity.nets import error, macs_of, residual

MakeContext = Callable[..., Context]


@pytest.fixture
def run(context: MakeContext) -> Callable[..., Outcome]:
    def apply(model: ir.Model, samples: int = 12, **options: object) -> Outcome:
        setting = context(model, count=samples)
        return SubstituteDsc(SubstituteDsc.Options.model_validate(options)).apply(model.clone(), setting)

    return apply


def normalized() -> ir.Model:
    """Return a convolution with a BatchNormalization behind it, in a model with a free batch."""
    return with_weights(
        """g (float[N, 4, 8, 8] x, float[8, 4, 3, 3] w, float[8] s, float[8] b, float[8] m, float[8] v)
            => (float[N, 8, 6, 6] y) {
            [one] c = Conv (x, w)
            v2 = Abs (v)
            [norm] n = BatchNormalization (c, s, b, m, vc)
            y = Relu (n)
        }""".replace("            v2 = Abs (v)\n", "").replace("vc)", "v)"),
        w=(8, 4, 3, 3),
        s=(8,),
        b=(8,),
        m=(8,),
        v=(8,),
    )


def test_ranks_are_given_by_selectors_and_the_last_counts(run):
    outcome = run(residual(), ranks={"*": 1, "two": 3})
    assert [(note["layer"], note["rank"]) for note in outcome.notes["layers"]] == [("one", 1), ("two", 3)]
    assert outcome.changed == 2
    assert all("error_db" in note for note in outcome.notes["layers"])


@pytest.mark.parametrize("ratio", [0.9, 0.6])
def test_a_share_of_the_macs(run, ratio: float):
    model = residual()
    outcome = run(model, macs_ratio=ratio)
    reached = sum(macs_of(outcome.model).values()) / sum(macs_of(model).values())
    assert 0.5 * ratio < reached <= ratio
    assert outcome.notes["macs_after"] / outcome.notes["macs_before"] == pytest.approx(reached)


def test_a_share_that_cannot_be_had(run):
    with pytest.raises(PassError, match=r"macs_ratio 0\.01 cannot be reached"):
        run(residual(), macs_ratio=0.01)


def test_an_error_is_kept_to(run, tmp_path: Path):
    model = residual()
    outcome = run(model, 24, max_error=0.05)
    assert outcome.changed > 0
    assert outcome.notes["error_foreseen"] <= 0.05
    assert error(outcome.model, model, tmp_path) < 0.1


def test_a_latency_is_measured(run, monkeypatch: pytest.MonkeyPatch):
    from onnx_pare.sparsity import prices

    monkeypatch.setattr(prices, "LAYER_S", 0.2)
    monkeypatch.setattr(prices, "MODEL_S", 0.4)
    model = with_weights(
        "g (float[1, 64, 28, 28] x, float[64, 64, 3, 3] w) => (float[1, 64, 28, 28] y) "
        "{ [c] y = Conv <pads = [1, 1, 1, 1]> (x, w) }",
        w=(64, 64, 3, 3),
    )
    outcome = run(model, 4, latency_ratio=0.8)
    assert outcome.notes["latency_ratio_measured"] <= 0.8
    assert outcome.changed == 1


def test_a_rank_that_takes_no_fewer_macs_is_left(run):
    model = residual()
    outcome = run(model, ranks={"one": 9})
    assert outcome.changed == 0
    assert serialize(outcome.model) == serialize(model)
    assert "no fewer MACs" in outcome.notes["left_alone"]["one"]


def test_without_fitting_given_ranks_need_no_samples():
    for fit, reads in ((True, True), (False, False)):
        assert SubstituteDsc(SubstituteDsc.Options(ranks={"*": 1}, fit=fit)).reads_samples() is reads
    assert SubstituteDsc(SubstituteDsc.Options(macs_ratio=0.5, fit=False)).reads_samples()


def test_one_target_only():
    with pytest.raises(ValidationError, match="choose one target"):
        SubstituteDsc.Options(macs_ratio=0.5, max_error=0.1)


def test_a_selector_that_matches_nothing(run):
    with pytest.raises(UsageError, match="ranks: 'three\\*x' matches no node"):
        run(residual(), ranks={"three*x": 1})
    with pytest.raises(UsageError, match="skip"):
        run(residual(), skip=["nowhere"])


def test_skipped_layers_stay(run):
    outcome = run(residual(), ranks={"*": 1}, skip=["one"])
    assert [note["layer"] for note in outcome.notes["layers"]] == ["two"]


def test_a_normalization_is_folded_first(run, tmp_path: Path):
    model = normalized()
    value = model.graph.initializers["v"]
    value.const_value = ir.tensor(np.abs(value.const_value.numpy()) + 0.5, name="v")
    outcome = run(model, 24, ranks={"one": 3})
    assert "BatchNormalization" not in {node.op_type for node in outcome.model.graph}
    assert error(outcome.model, model, tmp_path) < 0.4


def test_shared_and_grouped_weights_are_left(run):
    model = with_weights(
        """g (float[1, 4, 9, 9] x, float[4, 4, 3, 3] w) => (float[1, 4, 5, 5] y) {
            [one] a = Conv (x, w)
            [two] y = Conv (a, w)
        }""",
        w=(4, 4, 3, 3),
    )
    outcome = run(model, ranks={"*": 1})
    assert outcome.changed == 0
    assert set(outcome.notes["left_alone"]) == {"one", "two"}


def test_synthetic_samples_are_warned_of(run):
    assert any("synthetic samples" in warning for warning in run(residual(), ranks={"*": 1}).warnings)


def test_simplify_finds_nothing_left_to_clean(run, context: MakeContext):
    outcome = run(residual(), ranks={"*": 2})
    setting = context(outcome.model)
    assert Simplify().apply(outcome.model.clone(), setting).changed == 0


@pytest.mark.parametrize("options", [{"macs_ratio": 0.7}, {"ranks": {"*": 2}}])
def test_two_runs_give_the_same_bytes(run, options):
    a, b = (serialize(run(residual(), **options).model) for _ in range(2))
    assert a == b


def test_a_real_net_keeps_its_outputs(shared: Path, context: MakeContext, tmp_path: Path):
    model = load_model(shared / "models" / "resnet20_cifar10.onnx")
    from onnx_pare.calibration.data import open_samples
    from onnx_pare.calibration.preprocess import PRESETS

    data = shared / "data" / "cifar10_calibration.npz"
    samples = open_samples(data, model, preprocess=PRESETS["imagenet"], limit=24)
    setting = Context(samples, tmp_path, threads=1)
    found = {}
    for fit in (True, False):
        options = SubstituteDsc.Options(macs_ratio=0.8, fit=fit)
        outcome = SubstituteDsc(options).apply(model.clone(), setting)
        found[fit] = outcome.model
    shapes = input_shapes(model)
    assert (
        count(found[True], infer(found[True], shapes)).macs <= 0.8 * count(model, infer(model, shapes)).macs
    )
    errors = {fit: error(changed, model, tmp_path) for fit, changed in found.items()}
    assert errors[True] < 0.7 * errors[False]
