"""Ranges inside branches, loops and scans, nested too, are those of what is computed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from onnx_pare.graph.save import write_model
from onnx_pare.graph.session import Session
from onnx_pare.quantization.half_probes import probed
from onnx_pare.quantization.half_ranges import Reach

IF = """(float[2] x, bool c) => (float[2] y) <float[2] k = {-3.0, 0.5}> {
    y = If (c) <then_branch = t () => (float[2] p) { inner = Mul(x, k) p = Neg(inner) },
                else_branch = e () => (float[2] q) { q = Neg(x) }>
}"""
LOOP = """(float[2] x, bool c) => (float[2] y) <float[2] k = {-3.0, 0.5}, int64 n = {3}> {
    y = Loop (n, , x) <body = b (int64 i, bool d, float[2] s) => (bool o, float[2] t) {
        o = Identity(d) inner = Mul(s, k) t = Identity(inner) }>
}"""
NESTED = """(float[2] x, bool c) => (float[2] y) <float[2] k = {-3.0, 0.5}, int64 n = {3}> {
    y = Loop (n, , x) <body = b (int64 i, bool d, float[2] s) => (bool o, float[2] t) {
        o = Identity(d)
        t = If (c) <then_branch = u () => (float[2] p) { inner = Mul(s, k) p = Identity(inner) },
                    else_branch = e () => (float[2] q) { q = Identity(s) }>
    }>
}"""
SCAN = """(float[2] x, bool c) => (float[2] f, float[2,2] y) <float[2,2] k = {-3.0, 0.5, 0.0, 0.25}> {
    f, y = Scan <num_scan_inputs = 1, scan_output_axes = [0],
        body = b (float[2] s, float[2] e) => (float[2] t, float[2] o) {
            inner = Mul(s, e) t = Identity(s) o = Identity(inner) }> (x, k)
}"""


@pytest.mark.parametrize(
    ("body", "largest", "smallest"),
    [(IF, 6.0, 0.5), (LOOP, 54.0, 0.125), (NESTED, 54.0, 0.125), (SCAN, 6.0, 0.25)],
    ids=["If", "Loop", "If in Loop", "Scan"],
)
def test_ranges_inside(body: str, largest: float, smallest: float, tmp_path: Path) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g {body}'
    model = ir.from_proto(onnx.parser.parse_model(text))
    inner = next(value for node in model.graph.all_nodes() for value in node.outputs if value.name == "inner")
    copy, shown = probed(model, [inner])
    copy.graph.outputs.append(
        next(v for node in copy.graph for v in node.outputs if v.name == shown["inner"])
    )
    write_model(copy, tmp_path / "probed.onnx")
    feeds = {"x": np.array([2.0, 1.0], np.float32), "c": np.array(True)}
    session = Session(tmp_path / "probed.onnx")
    reach = Reach()
    reach.update(session.run({name: feeds[name] for name in session.inputs})[-1])
    assert (reach.largest, reach.smallest) == (largest, smallest)
    assert len(model.graph.outputs) == len(ir.from_proto(onnx.parser.parse_model(text)).graph.outputs)


def test_nothing_inside_nothing_copied() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    model = ir.from_proto(onnx.parser.parse_model(text))
    copy, shown = probed(model, [model.graph.inputs[0], model.graph.outputs[0]])
    assert copy is model
    assert shown == {"x": "x", "y": "y"}
