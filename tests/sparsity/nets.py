"""Small networks with seeded weights, and what it takes to change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.cost.count import count
from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.graph.shapes import Shapes, infer, input_shapes
from onnx_pare.progress import Silent
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.substitution import Means
from tests.conftest import with_weights

Array = np.ndarray


def residual() -> ir.Model:
    """Return two convolutions around which the input is added, a grouped one, and a classifier."""
    return with_weights(
        """g (float[N, 8, 9, 9] x, float[16, 8, 3, 3] a, float[16] b, float[8, 16, 3, 3] c,
              float[16, 4, 3, 3] d, float[5, 784] e, float[5] f) => (float[N, 5] y) {
            [one] h = Conv <pads = [1, 1, 1, 1]> (x, a, b)
            r = Relu (h)
            [two] t = Conv <pads = [1, 1, 1, 1]> (r, c)
            s = Add (t, x)
            [three] g1 = Conv <group = 2> (s, d)
            flat = Flatten (g1)
            [four] y = Gemm <transB = 1> (flat, e, f)
        }""",
        a=(16, 8, 3, 3),
        b=(16,),
        c=(8, 16, 3, 3),
        d=(16, 4, 3, 3),
        e=(5, 784),
        f=(5,),
    )


def shapes_of(model: ir.Model) -> Shapes:
    return infer(model, input_shapes(model))


def macs_of(model: ir.Model) -> dict[str, int]:
    return {row.name: row.macs or 0 for row in count(model, shapes_of(model)).rows}


def layer(model: ir.Model, name: str) -> Layer:
    found = layer_of(next(node for node in model.graph if node.name == name))
    assert found is not None
    return found


def means(model: ir.Model, folder: Path, samples: int = 12) -> Means:
    return Means(synthetic_samples(model, count=samples, seed=0), folder, 1, Silent())


def error(changed: ir.Model, original: ir.Model, folder: Path) -> float:
    """Return the mean square error of the outputs, relative to their power."""
    write_model(original, folder / "run.onnx")
    samples = synthetic_samples(original, count=32, seed=1)
    (feeds, _), *_ = samples.batches(32)
    a = Session(folder / "run.onnx").run(feeds)[0]
    write_model(changed, folder / "run.onnx")
    b = Session(folder / "run.onnx").run(feeds)[0]
    return float(np.square(a - b).sum() / np.square(a).sum())
