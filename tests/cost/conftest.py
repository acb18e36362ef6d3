"""Counting small models written as ONNX text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.cost.count import Cost, count
from onnx_pare.cost.kernels import Kernel, kernels
from onnx_pare.graph.edit import add_initializer
from onnx_pare.graph.shapes import infer, input_shapes

Counter = Callable[..., Cost]


@pytest.fixture(scope="session")
def counted() -> Counter:
    """Return a function that counts a model given as text; `weights` are added as initializers first.

    A weight is named in the text as an input; its shape there is the array's.
    """

    def run(
        text: str,
        weights: Mapping[str, np.ndarray] | None = None,
        opset: int = 17,
        edit: Callable[[ir.Model], None] | None = None,
        **given: tuple[int, ...],
    ) -> Cost:
        model = parsed(text, weights or {}, opset)
        if edit is not None:
            edit(model)
        return count(model, infer(model, input_shapes(model, given)))

    return run


@pytest.fixture(scope="session")
def kernels_of() -> Callable[..., list[Kernel]]:
    """Return a function that gives the kernels of a model given as text; weights by their shapes are ones."""

    def run(
        text: str, rules: str = "none", weights: Mapping[str, tuple[int, ...]] | None = None, opset: int = 17
    ) -> list[Kernel]:
        model = parsed(text, {}, opset)
        ports = {value.name: value.dtype for value in model.graph.inputs}
        arrays = {name: np.ones(shape, ports[name].numpy()) for name, shape in (weights or {}).items()}
        model = parsed(text, arrays, opset)
        shapes = infer(model, input_shapes(model))
        return kernels(model, shapes, count(model, shapes), rules)

    return run


def parsed(text: str, weights: Mapping[str, np.ndarray], opset: int) -> ir.Model:
    """Parse a graph and turn the inputs that have an array into initializers."""
    opsets = f'"" : {opset}, "com.microsoft" : 1, "ai.onnx.ml" : 3'
    model = ir.from_onnx_text(f"<ir_version: 8, opset_import: [{opsets}]>\n{text}")
    for name, array in weights.items():
        port = next(value for value in model.graph.inputs if value.name == name)
        weight = add_initializer(model.graph, f"{name}_", array)
        port.replace_all_uses_with(weight)
        model.graph.inputs.remove(port)
    return model
