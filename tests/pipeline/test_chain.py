"""The chain of passes, with passes made for each way to go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.bench.fidelity import Reference
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import PassError, UsageError, VerificationError
from onnx_pare.graph.edit import set_constant
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.passes.base import Context, Outcome, Pass
from onnx_pare.pipeline.chain import Chain, run_passes

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
    <float[4] w = {1.0, 2.0, 3.0, 4.0}> { m = Mul(x, w) y = Relu(m) }"""


def scaling(factor: float, *, name: str = "scale", lossless: bool = False) -> Pass:
    """Return a pass that multiplies the weights."""

    class Scale(Pass):
        """Scale."""

        def apply(self, model: ir.Model, context: Context) -> Outcome:
            weight = model.graph.initializers["w"]
            assert weight.const_value is not None
            set_constant(weight, (weight.const_value.numpy() * factor).astype(np.float32))
            return Outcome(model, 1, {"factor": factor}, warnings=("scaled",))

    Scale.name, Scale.lossless = name, lossless
    return Scale()


def doing(action: Callable[[ir.Model], None], name: str = "bad", changed: int = 1) -> Pass:
    class Do(Pass):
        """Do."""

        def apply(self, model: ir.Model, context: Context) -> Outcome:
            action(model)
            return Outcome(model, changed)

    Do.name = name
    return Do()


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., Chain]:
    def run(*passes: Pass) -> Chain:
        model = ir.from_onnx_text(TEXT)
        original = tmp_path / "original.onnx"
        write_model(model, original)
        samples = synthetic_samples(model, count=4)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return run_passes(model, original, passes, Context(samples, scratch), Reference(original, samples))

    return run


def test_each_pass_is_recorded_against_the_original(chain: Callable[..., Chain]):
    result = chain(scaling(1.5, name="a"), scaling(0.5, name="b"))
    assert [record.name for record in result.records] == ["a", "b"]
    assert [record.changed for record in result.records] == [1, 1]
    # |1.5x - x| = x/2 and |0.75x - x| = x/4: 6.02 and 12.04 dB
    assert [record.sqnr_db for record in result.records] == pytest.approx([6.02, 12.04], abs=0.01)
    assert result.warnings == ("scaled",)
    assert [path.name for path in result.path.parent.iterdir()] == ["2-b.onnx"]


def test_a_pass_that_changes_nothing_leaves_the_original(chain: Callable[..., Chain], tmp_path: Path):
    result = chain(doing(lambda model: None, changed=0))
    assert result.path == tmp_path / "original.onnx"
    assert result.records[0].sqnr_db == float("inf")


def test_the_input_model_is_not_touched(tmp_path: Path):
    model = ir.from_onnx_text(TEXT)
    before = serialize(model)
    original = tmp_path / "original.onnx"
    write_model(model, original)
    samples = synthetic_samples(model, count=1)
    run_passes(model, original, [scaling(2)], Context(samples, tmp_path), Reference(original, samples))
    assert serialize(model) == before


def crash(model: ir.Model) -> None:
    raise IndexError("list index out of range")


def test_a_crash_names_the_pass_and_those_before_it(chain: Callable[..., Chain]):
    with pytest.raises(PassError, match=r"pass bad \(after scale\): IndexError: list index out of range"):
        chain(scaling(1.1), doing(crash))


def refuse(model: ir.Model) -> None:
    raise UsageError("skip: 'x' matches no node")


def test_bad_options_stay_input_errors(chain: Callable[..., Chain]):
    with pytest.raises(UsageError, match="pass bad: skip: 'x' matches no node"):
        chain(doing(refuse))


def rename_output(model: ir.Model) -> None:
    model.graph.outputs[0].name = "z"


def drop_weights(model: ir.Model) -> None:
    model.graph.initializers.pop("w")


def wrong_type(model: ir.Model) -> None:
    model.graph.outputs[0].dtype = ir.DataType.FLOAT16


def unknown_op(model: ir.Model) -> None:
    model.graph[0].op_type = "Mull"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (rename_output, r"outputs were \['y'\], are \['z'\]"),
        (wrong_type, "output 'y' was float32, is float16"),
        (drop_weights, "pass bad: "),
        (unknown_op, "Mull"),
    ],
)
def test_what_breaks_the_model_is_found(
    action: Callable[[ir.Model], None], said: str, chain: Callable[..., Chain]
):
    with pytest.raises(VerificationError, match=said):
        chain(doing(action))


def test_a_lossless_pass_is_held_to_its_promise(chain: Callable[..., Chain]):
    with pytest.raises(VerificationError, match="must not change the outputs"):
        chain(scaling(1.5), scaling(1.01, name="liar", lossless=True))


def test_a_lossless_pass_after_a_lossy_one_is_compared_with_its_own_input(chain: Callable[..., Chain]):
    chain(scaling(1.5), scaling(1.0, name="honest", lossless=True))


def test_nan_is_refused(chain: Callable[..., Chain]):
    with pytest.raises(VerificationError, match="NaN or infinities"):
        chain(scaling(float("nan")))
