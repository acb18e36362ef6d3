"""What `pare inspect` shows of a model that `annotate_relu_sparsity` has measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from onnx_pare.cli import inspect_zeros
from onnx_pare.cost.count import Cost, count
from onnx_pare.graph.shapes import infer, input_shapes
from onnx_pare.sparsity.metadata import write_input, write_measurement, write_negatives, write_zeros
from onnx_pare.sparsity.share import Measurement, Share, Zeros

from .test_inspect import app

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[1,2] x) => (float[1,2] y) <float[2,2] w = {1, 1, 0, 1}, float[2] s = {0.1, 0.1}> {
   r = Relu (x)  m = MatMul (r, w)  p = PRelu (m, s)  y = Sigmoid (p)
}"""
MEASURED = Measurement(128, "images", False, 0.25, "onnx-pare 1")


@pytest.fixture
def model() -> ir.Model:
    """Return a model with annotations of every kind."""
    model = ir.from_onnx_text(TEXT)
    relu, product, prelu, _ = nodes = list(model.graph)
    for node in nodes:
        node.name = node.outputs[0].name
    write_zeros(relu, Zeros(0.25, 1, (0.5, 0.0), (), p10=0.2, p90=0.314))
    write_input(product, 0, Share(0.25, 1, (0.5, 0.0)))
    write_negatives(prelu, Share(0.125, 1, (0.25, 0.0)))
    write_measurement(model, MEASURED)
    return model


@pytest.fixture
def shown(model: ir.Model, tmp_path: Path) -> Callable[..., str]:
    """Return what runs the command on the model."""
    ir.save(model, tmp_path / "m.onnx")

    def run(*options: str) -> str:
        return CliRunner().invoke(app, [str(tmp_path / "m.onnx"), *options], catch_exceptions=False).stdout

    return run


def cost(model: ir.Model) -> Cost:
    return count(model, infer(model, input_shapes(model)))


def test_a_table_of_what_was_measured(model: ir.Model) -> None:
    assert list(inspect_zeros.table(cost(model).rows, None)) == [
        "node op     reads 0   makes 0 p10–p90 dead MACs effective",
        "r    Relu              25.0 % 20–31 %  0/2",
        "m    MatMul  25.0 %                           4         2",
        "p    PRelu          <0 12.5 %",
    ]


def test_lines_of_the_totals(shown: Callable[..., str]) -> None:
    lines = shown().splitlines()
    assert "on nonzeros  2 MACs  (2 MACs)" in lines
    assert "skipping     zero weights saves 25.00 %, zero activations 25.00 %, both 50.00 %" in lines
    assert "zeros        25.00 % of all activations, on 128 samples: images" in lines
    assert "node op     reads 0   makes 0 p10–p90 dead MACs effective" in lines


def test_json(shown: Callable[..., str]) -> None:
    found = json.loads(shown("--json", "-"))
    assert found["sparsity"] == {
        "samples": 128, "source": "images", "random": False, "zero_fraction": 0.25, "tool": "onnx-pare 1",
    }  # fmt: skip
    relu, product, prelu, sigmoid = found["nodes"]
    assert relu["zeros"]["zero_fraction_p90"] == 0.314
    assert relu["zeros"]["dead_channels"] == []
    assert (product["input_zero_fraction"], product["effective_macs"]) == (0.25, 2)
    assert prelu["negatives"]["negative_fraction"] == 0.125
    assert prelu["zeros"] is sigmoid["negatives"] is sigmoid["input_zero_fraction"] is None
    totals = found["totals"]
    assert (totals["nonzero_weight_macs"], totals["nonzero_activation_macs"]) == (3, 3)


def test_nothing_measured_shows_nothing(tmp_path: Path) -> None:
    model = ir.from_onnx_text(TEXT)
    assert list(inspect_zeros.table(cost(model).rows, None)) == []
    ir.save(model, tmp_path / "m.onnx")
    result = CliRunner().invoke(app, [str(tmp_path / "m.onnx"), "--json", "-"])
    assert json.loads(result.stdout)["sparsity"] is None


def test_it_fits_into_80_columns(model: ir.Model) -> None:
    for node in model.graph:
        node.name = f"a/name/that/is/longer/than/what/fits/into/a/narrow/terminal/{node.name}"
    assert max(map(len, inspect_zeros.table(cost(model).rows, 80))) <= 80
