"""Small float models, their int8 forms, and a look at what onnxruntime makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnx_pare.bench.race import Stopwatch
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.passes.base import Context
from onnx_pare.passes.quantize_int8 import QuantizeInt8
from onnx_pare.quantization.draft import Draft, Names
from tests.conftest import with_weights

NONE: Names = frozenset()


def separable() -> ir.Model:
    """Return a regular, a depthwise and a pointwise convolution, each node called like its output."""
    made = with_weights(
        """g (float[1, 3, 8, 8] x, float[8, 3, 3, 3] v, float[8, 1, 3, 3] w, float[8, 8, 1, 1] u)
            => (float[1, 8, 8, 8] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, v)
            b = Conv <group = 8, pads = [1, 1, 1, 1]> (a, w)
            y = Conv(b, u)
        }""",
        v=(8, 3, 3, 3),
        w=(8, 1, 3, 3),
        u=(8, 8, 1, 1),
    )
    for node in made.graph:
        node.name = node.outputs[0].name
    return made


@pytest.fixture
def quantized(tmp_path: Path) -> Callable[..., ir.Model]:
    """Return a function that quantizes a model over seeded synthetic input."""

    def quantize(model: ir.Model, **options: object) -> ir.Model:
        context = Context(samples=synthetic_samples(model, count=32), scratch=tmp_path)
        options = {"select": "all", "min_sqnr_db": None, **options}
        one = QuantizeInt8(QuantizeInt8.Options.model_validate(options))
        return one.apply(model.clone(), context).model

    return quantize


@pytest.fixture
def kernels_of(tmp_path: Path) -> Callable[[ir.Model], Counter[str]]:
    """Return a function that counts the operators of the graph onnxruntime makes of a model."""

    def count(model: ir.Model) -> Counter[str]:
        path, optimized = tmp_path / "model.onnx", tmp_path / "optimized.onnx"
        write_model(model, path)
        Session(path, optimized_path=optimized)
        return Counter(node.op_type for node in onnx.load(optimized).graph.node)

    return count


@pytest.fixture
def sqnr_db(tmp_path: Path) -> Callable[[ir.Model, ir.Model], float]:
    """Return a function that compares two models on synthetic input they have not been calibrated on."""
    from onnx_pare.bench.fidelity import compare

    def measure(before: ir.Model, after: ir.Model) -> float:
        paths = tmp_path / "before.onnx", tmp_path / "after.onnx"
        for model, path in zip((before, after), paths, strict=True):
            write_model(model, path)
        found = compare(*paths, synthetic_samples(before, count=4, seed=1)).sqnr_db
        assert found is not None
        return found

    return measure


@pytest.fixture
def drafted(tmp_path: Path) -> Callable[..., Draft]:
    """Return a function that makes a draft of a model over seeded synthetic input, calibrated if asked to."""

    def make(model: ir.Model, *, count: int = 16, calibrate: bool = True, skipped: Names = NONE) -> Draft:
        samples = synthetic_samples(model, count=count)
        draft = Draft(model, samples, Context(samples, tmp_path).observe_over, skipped)
        if calibrate:
            draft.calibrate(moments=True)
        return draft

    return make


@pytest.fixture
def told_times(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function after which every int8 model is so many times as fast as the float one."""
    from onnx_pare.quantization import contest, static

    def tell(speedup: float) -> None:
        def stopwatch(*args: object, **options: object) -> Stopwatch:
            return lambda paths, budget_s: np.array([[speedup] + [1.0] * (len(paths) - 1)] * 10)

        for module in (contest, static):
            monkeypatch.setattr(module, "stopwatch", stopwatch)

    return tell


def named(model: ir.Model) -> ir.Model:
    """Name every node after its first output."""
    for node in model.graph:
        node.name = node.outputs[0].name
    return model
