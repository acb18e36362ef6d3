from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import typer
from typer.testing import CliRunner

from onnx_pare.cli import inspect as command
from onnx_pare.errors import ModelError, UsageError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(command.inspect)

SEPARABLE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,64,112,H] x) => (float[a,b,c,d] y) <int64[4] s = {64, 1, 3, 3}, int64[4] t = {128, 64, 1, 1}> {
    w = ConstantOfShape <value = float[1] {1.0}> (s)
    v = ConstantOfShape (t)
    d = Conv <group = 64, pads = [1,1,1,1]> (x, w)
    y = Conv(d, v)
}"""
SIZE = ("--shape", "x=1x64x112x112")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def model(tmp_path: Path) -> str:
    loaded = ir.from_onnx_text(SEPARABLE)
    loaded.graph.node(2).name = "blocks/0/a/name/that/is/longer/than/what/fits/into/80/columns/depthwise"
    path = tmp_path / "separable.onnx"
    ir.save(loaded, path)
    return str(path)


def test_totals_with_units(model: str) -> None:
    output = run(model, *SIZE)
    assert "MACs         110 MMACs = 220 MFLOPs  (109,985,792 MACs, 219,971,584 FLOPs)" in output
    assert "on nonzeros  7.225 MMACs  (7,225,344 MACs)" in output
    assert "parameters   8,768, of them 93.43 % zero" in output
    assert "input        x 1x64x112x112" in output


def test_in_a_pipe_all_is_aligned_and_nothing_cut(model: str) -> None:
    header, depthwise, pointwise, *_ = run(model, *SIZE).splitlines()
    assert "\t" not in header + depthwise + pointwise
    assert "blocks/0/a/name/that/is/longer/than/what/fits/into/80/columns/depthwise" in depthwise
    assert depthwise.index("Conv") == pointwise.index("Conv", 10) == header.index("op")
    figures = "Conv 102.8 M 8.192 k 32.77 kB 1x128x112x112 float32 100.0 %"
    assert " ".join(pointwise.split()[1:]) == figures


def test_in_a_terminal_of_80_columns_names_are_cut(model: str) -> None:
    from onnx_pare.cost.count import count
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer

    loaded = load_model(Path(model))
    cost = count(loaded, infer(loaded, {"x": (1, 64, 112, 112)}))
    lines = list(command.table(cost.rows, 80))
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("…s/depthwise Conv")


def test_json_has_exactly_the_agreed_keys(model: str) -> None:
    document: dict[str, Any] = json.loads(run(model, *SIZE, "--json", "-"))
    assert list(document) == ["schema", "totals", "nodes", "uncounted_ops", "sparsity"]
    assert document["schema"] == "onnx-pare/inspect/1"
    wanted = {"macs", "params", "weight_bytes", "activation_bytes", "peak_activation_bytes"}
    assert wanted <= set(document["totals"])
    assert document["totals"]["macs"] == 109_985_792
    assert document["totals"]["size_bytes"] == Path(model).stat().st_size
    keys = ["name", "op", "macs", "params", "weight_bytes", "read_bytes", "written_bytes"]
    keys += ["output_shape", "dtype", "weight_sparsity"]
    keys += ["effective_macs", "input_zero_fraction", "zeros", "negatives"]
    assert [list(node) for node in document["nodes"]] == [keys, keys]
    assert document["nodes"][1]["output_shape"] == [1, 128, 112, 112]
    assert document["nodes"][1]["weight_sparsity"] == 1.0


def test_json_file_beside_the_table(model: str, tmp_path: Path) -> None:
    target = tmp_path / "cost.json"
    assert "MACs" in run(model, *SIZE, "--json", str(target))
    assert json.loads(target.read_text(encoding="utf-8"))["totals"]["params"] == 8768


def test_the_batch_scales(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = SEPARABLE.replace("[N,64,112,H]", "[N,64,112,112]")
    ir.save(ir.from_onnx_text(text), path)
    assert "439,943,168 MACs" in run(str(path), "--batch", "4")


def test_free_dimensions_are_named(model: str) -> None:
    with pytest.raises(ModelError, match=r"'H' \(position 3\)"):
        run(model)


def test_a_fixed_batch_is_said(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(ir.from_onnx_text(SEPARABLE.replace("[N,64,112,H]", "[2,64,112,112]")), path)
    with pytest.raises(UsageError, match="--batch 3: the model's batch is fixed: x 2"):
        run(str(path), "--batch", "3")


def test_uncounted_operators_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[3,3] x) => (float y) { y = Det(x) }'
    ir.save(ir.from_onnx_text(text), path)
    assert "NOT COUNTED  Det, 1×: its multiplications depend on the algorithm" in run(str(path))
    document = json.loads(run(str(path), "--json", "-"))
    assert document["uncounted_ops"] == ["Det"]
    assert document["nodes"][0]["macs"] is None


SHAPES = {"nnsplit_en": "input=1x100", "silero_vad_16k": "input=1x576"}


def test_every_real_model(shared: Path) -> None:
    for path in sorted((shared / "models").glob("*.onnx")):
        if path.stem in SHAPES:
            with pytest.raises(ModelError, match="free dimensions"):
                run(str(path))
        options = ["--shape", SHAPES[path.stem]] if path.stem in SHAPES else []
        document = json.loads(run(str(path), *options, "--json", "-"))
        assert document["totals"]["macs"] > 0
        assert document["uncounted_ops"] == []
