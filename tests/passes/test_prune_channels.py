"""prune_channels: how many channels go and which, what stays, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from pydantic import ValidationError

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import UsageError
from onnx_pare.graph.edit import constant
from onnx_pare.graph.load import load_model
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.passes.annotate_relu_sparsity import AnnotateReluSparsity
from onnx_pare.passes.base import Context, Outcome
from onnx_pare.passes.prune_channels import PruneChannels
from onnx_pare.passes.simplify import Simplify
from onnx_pare.sparsity.metadata import read_measurement, read_zeros

Check = Callable[..., Outcome]
MakeContext = Callable[..., Context]
TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[N,1,4,4] x) => (float[N,2,4,4] y)
  <float[4,1,1,1] w = {1, -3, 4, 2}, float[4] b = {5, 6, 7, 8}, float[2,4,1,1] v = {1, 2, 3, 4, 5, 6, 7, 8},
   float[2,2,1,1] u = {1, 2, 3, 4}> {
  [one] a = Conv (x, w, b) r = Relu (a) [two] c = Conv (r, v) s = Sigmoid (c) [three] y = Conv (s, u) }"""
HALVED = """<ir_version: 8, opset_import: ["": 17]> g (float[N,1,4,4] x) => (float[N,2,4,4] y)
  <float[2,1,1,1] w = {-3, 4}, float[2] b = {6, 7}, float[1,2,1,1] v = {6, 7}, float[2,1,1,1] u = {2, 4}> {
  a = Conv (x, w, b) r = Relu (a) c = Conv (r, v) s = Sigmoid (c) y = Conv (s, u) }"""


def options(**given: Any) -> PruneChannels:
    return PruneChannels(PruneChannels.Options(**given))


def plain(**given: Any) -> PruneChannels:
    """Return the pass without data: the norms of filters decide, and weights stay."""
    return options(**{"criterion": "l1", "refit": False, "floor": 0.0, **given})


def widths(model: ir.Model) -> list[int]:
    arrays = [constant(node.inputs[1]) for node in model.graph if node.op_type == "Conv"]
    return [array.shape[0] for array in arrays if array is not None]


def test_the_least_filters_go_with_all_that_reads_them(check_rewrites: Check) -> None:
    outcome = check_rewrites(plain(ratio=0.5), TEXT, HALVED)
    assert outcome.changed == 3
    assert outcome.notes["layers"][1] == {
        "node": "two",
        "op": "Conv",
        "inputs_before": 4,
        "inputs_after": 2,
        "channels_before": 2,
        "channels_after": 1,
        "macs_before": 128,
        "macs_after": 32,
    }
    assert [outcome.notes[key] for key in ("groups", "units", "removed_units")] == [2, 6, 3]
    assert outcome.notes["left_alone"] == [
        {"layers": ["three"], "node": "three", "op": "Conv", "reason": "the model's output"}
    ]
    assert outcome.warnings == ()


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"ratio": 0.9}, [1, 1, 2]),
        ({"ratio": 0.9, "min_channels": 2}, [2, 2, 2]),
        ({"ratio": 0.9, "floor": 0.6}, [3, 2, 2]),
        ({"ratio": 0.25, "round_to": 2}, [4, 2, 2]),
        ({"ratio": 0.5, "round_to": 2}, [2, 2, 2]),
        ({"ratio": 0.5, "skip": ["one"]}, [4, 1, 2]),
        ({"ratio": 0.34, "scope": "global"}, [2, 2, 2]),
        ({"ratio": 0.5, "criterion": "l2"}, [2, 1, 2]),
        ({"ratio": 0.3}, [3, 2, 2]),
    ],
)
def test_how_many_go(given: dict[str, Any], left: list[int], context: MakeContext) -> None:
    model = ir.from_onnx_text(TEXT)
    outcome = plain(**given).apply(model, context(model))
    assert widths(outcome.model) == left


def test_what_is_too_narrow_or_fixed_stays(check_untouched: Check) -> None:
    outcome = check_untouched(options(ratio=0.2), TEXT)
    assert outcome.warnings == ("no group is so wide that this ratio removes a channel",)
    alone = """<ir_version: 8, opset_import: ["": 17]> g (float[N,2] x) => (float[N,3] y)
      <float[2,3] w = {1, 2, 3, 4, 5, 6}> { y = MatMul (x, w) }"""
    outcome = check_untouched(options(), alone)
    assert "no channels can be removed" in outcome.warnings[0]


def annotated(context: MakeContext) -> ir.Model:
    """Return a model in which the first and the last of four channels never fire."""
    text = TEXT.replace("b = {5, 6, 7, 8}", "b = {-1000, 6, 7, -1000}")
    model = ir.from_onnx_text(text)
    return AnnotateReluSparsity().apply(model, context(model)).model


def test_dead_channels_go_and_nothing_changes(context: MakeContext, tmp_path: Path) -> None:
    model = annotated(context)
    setting = context(model)
    feeds = list(setting.samples)
    write_model(model, tmp_path / "before.onnx")
    before = [Session(tmp_path / "before.onnx").run(feed)[0] for feed in feeds]
    outcome = options(dead_only=True).apply(model, setting)
    write_model(outcome.model, tmp_path / "after.onnx")
    after = [Session(tmp_path / "after.onnx").run(feed)[0] for feed in feeds]
    np.testing.assert_allclose(after, before, rtol=1e-6)
    assert widths(outcome.model) == [2, 2, 2]
    assert "rests on 3 synthetic samples" in outcome.warnings[0]
    zeros = read_zeros(next(node for node in outcome.model.graph if node.op_type == "Relu"))
    assert zeros is not None
    assert (len(zeros.per_channel), zeros.dead_channels) == (2, ())
    assert options(dead_only=True).apply(outcome.model, setting).changed == 0


def test_other_channels_take_the_annotations_with_them(context: MakeContext) -> None:
    model = annotated(context)
    outcome = options(ratio=0.5).apply(model, context(model))
    assert read_measurement(outcome.model) is None
    assert all(read_zeros(node) is None for node in outcome.model.graph)
    assert "annotate it again" in outcome.warnings[0]


def test_dead_channels_must_have_been_looked_for(context: MakeContext) -> None:
    model = ir.from_onnx_text(TEXT)
    with pytest.raises(UsageError, match="annotate_relu_sparsity"):
        options(dead_only=True).apply(model, context(model))
    with pytest.raises(ValidationError, match="ratio: `dead_only`"):
        options(dead_only=True, ratio=0.5)


def test_an_unknown_selector_is_an_error(context: MakeContext) -> None:
    model = ir.from_onnx_text(TEXT)
    with pytest.raises(UsageError, match="skip: 'head' matches no node"):
        options(skip=["head"]).apply(model, context(model))


@pytest.mark.parametrize("name", ["resnet20_cifar10", "fastestdet_coco", "mlperf_tiny_kws_dscnn"])
def test_real_models_run_and_leave_nothing_to_simplify(
    name: str, shared: Path, context: MakeContext, tmp_path: Path
) -> None:
    model = load_model(shared / "models" / f"{name}.onnx")
    ports, samples = signature(model), list(synthetic_samples(model, count=1, seed=0))
    model = Simplify().apply(model, context(model, count=1)).model
    outcome = plain(ratio=0.3, round_to=1).apply(model, context(model, count=1))
    write_model(outcome.model, tmp_path / "after.onnx")
    assert problems(tmp_path / "after.onnx", ports, signature(outcome.model)) == []
    assert np.isfinite(Session(tmp_path / "after.onnx").run(samples[0])[0]).all()
    layers = outcome.notes["layers"]
    assert sum(one["macs_after"] for one in layers) < 0.65 * sum(one["macs_before"] for one in layers)
    assert Simplify().apply(outcome.model, context(outcome.model, count=1)).changed == 0
