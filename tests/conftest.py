"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.stores import memory, web  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
HEADER = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'


def with_weights(text: str, seed: int = 0, **shapes: tuple[int, ...]) -> ir.Model:
    """Parse a graph and give it seeded float32 weights of these shapes as initializers."""
    model = ir.from_onnx_text(f"{HEADER} {text}")
    rng = np.random.default_rng(seed)
    values = ir.convenience.create_value_mapping(model.graph)
    for name, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:])))
        array = (rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)
        value = values[name]
        value.const_value = ir.tensor(array, name=name)
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the optional folder of real models and data; tests that need it skip without it."""
    folder = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared"))
    if not (folder / "models" / "manifest.json").is_file():
        pytest.skip(f"no real models at {folder} (set PARE_SHARED)")
    return folder
