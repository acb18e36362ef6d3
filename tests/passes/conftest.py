"""The two verbs that tests of passes speak, on models in ONNX text: `check_rewrites`, `check_untouched`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.graph.edit import constant
from onnx_pare.graph.save import serialize, write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.signature import signature
from onnx_pare.graph.verify import problems
from onnx_pare.passes.base import Context, Outcome, Pass

Shapes = Mapping[str, Sequence[int]]
Check = Callable[..., Outcome]


def parsed(text: str | ir.Model) -> ir.Model:
    """Return the model that ONNX text describes, its nodes named after their operator and place."""
    if isinstance(text, ir.Model):
        return text
    model = ir.from_onnx_text(text)
    for graph in model.graphs():
        for index, node in enumerate(graph):
            node.name = node.name or f"{node.op_type}_{index}"
    return model


def structure(model: ir.Model) -> list[str]:
    """Return the nodes as lines, inner values numbered, constants by shape: equal for equal graphs."""
    names: dict[ir.Value, str] = {}

    def name(value: ir.Value | None) -> str:
        if value is None:
            return "-"
        array = constant(value)
        if array is not None and not value.is_graph_output():
            return f"{array.dtype}{list(array.shape)}"
        fixed = value.is_graph_input() or value.is_graph_output()
        return names.setdefault(value, f"{value.name}" if fixed else f"v{len(names)}")

    return [
        f"{', '.join(map(name, node.outputs))} = {node.op_type}({', '.join(map(name, node.inputs))})"
        for node in model.graph
        if node.op_type != "Constant"
    ]


def outputs(model: ir.Model, path: Path, context: Context) -> list[list[Any]]:
    """Return what the model computes on every sample."""
    write_model(model, path)
    session = Session(path)
    return [session.run(feeds) for feeds in context.samples]


def close(a: list[list[Any]], b: list[list[Any]], tolerance: float) -> None:
    """Assert that two lists of outputs agree, relative to the largest magnitude of each."""
    for one, other in zip(a, b, strict=True):
        for x, y in zip(one, other, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_allclose(y, x, rtol=0, atol=tolerance * max(float(np.abs(x).max()), 1e-6))


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Context]:
    """Return a function that makes a context with synthetic samples for a model."""

    def make(model: ir.Model, *, count: int = 3, seed: int = 0, shapes: Shapes | None = None) -> Context:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return Context(synthetic_samples(model, count=count, seed=seed, shapes=shapes), scratch, seed=seed)

    return make


@pytest.fixture
def check_rewrites(tmp_path: Path, context: Callable[..., Context]) -> Check:
    """Return the verb `check_rewrites(transform, before, after, tolerance=1e-5, shapes=None)`.

    The pass must turn `before` into a model with the nodes of `after`, with the same signature as before,
    that checks, and that computes what `after` does; what `before` does too if the pass is lossless.
    """

    def check(
        transform: Pass,
        before: str | ir.Model,
        after: str | ir.Model,
        *,
        tolerance: float = 1e-5,
        shapes: Shapes | None = None,
    ) -> Outcome:
        model, expected = parsed(before), parsed(after)
        port = signature(model)
        setting = context(model, shapes=shapes)
        reference = outputs(model, tmp_path / "before.onnx", setting)
        outcome = transform.apply(model, setting)
        assert outcome.changed > 0
        assert structure(outcome.model) == structure(expected)
        got = outputs(outcome.model, tmp_path / "result.onnx", setting)
        assert problems(tmp_path / "result.onnx", port, signature(outcome.model)) == []
        close(outputs(expected, tmp_path / "after.onnx", setting), got, tolerance)
        if transform.lossless:
            close(reference, got, tolerance)
        return outcome

    return check


@pytest.fixture
def check_untouched(context: Callable[..., Context]) -> Check:
    """Return the verb `check_untouched(transform, model, shapes=None)`: nothing changes, not one byte."""

    def check(transform: Pass, model: str | ir.Model, *, shapes: Shapes | None = None) -> Outcome:
        model = parsed(model)
        before = serialize(model)
        outcome = transform.apply(model, context(model, shapes=shapes))
        assert outcome.changed == 0
        assert serialize(outcome.model) == before
        return outcome

    return check
