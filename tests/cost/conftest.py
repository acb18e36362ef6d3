"""Counting small models written as ONNX text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest

from onnx_pare.cost.count import Cost, count
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
        opsets = f'"" : {opset}, "com.microsoft" : 1, "ai.onnx.ml" : 3'
        model = ir.from_onnx_text(f"<ir_version: 8, opset_import: [{opsets}]>\n{text}")
        for name, array in (weights or {}).items():
            port = next(value for value in model.graph.inputs if value.name == name)
            weight = add_initializer(model.graph, f"{name}_", array)
            port.replace_all_uses_with(weight)
            model.graph.inputs.remove(port)
        if edit is not None:
            edit(model)
        return count(model, infer(model, input_shapes(model, given)))

    return run
