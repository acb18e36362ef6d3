"""Small models, and writers of small data."""

from __future__ import annotations

from collections.abc import Callable

import onnx.parser
import onnx_ir as ir
import pytest

MakeModel = Callable[..., ir.Model]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Return a function that builds a model from the declarations of its inputs, and of one output."""

    def build(inputs: str, output: str = "float[N, 10] y") -> ir.Model:
        body = f"{output.split()[-1]} = RandomNormal <shape = [1, 10]> ()"  # never run
        text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({output}) {{ {body} }}'
        return ir.from_proto(onnx.parser.parse_model(text))

    return build
