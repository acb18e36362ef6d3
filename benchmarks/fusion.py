"""Compare the rules `onnxruntime-cpu` with the graphs that onnxruntime itself optimizes.

    python benchmarks/fusion.py [FOLDER | MODEL …] [--all]

FOLDER (default: $PARE_SHARED/archs) is searched for .onnx files. Weights made by ConstantOfShape are replaced
by random ones: equal weights would make equal layers, which onnxruntime merges. Prints graphs whose numbers
of kernels differ (with --all: every graph): in all, and of each operator that makes the difference,
onnxruntime's number first.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx_pare.cost.memory import VIEWS

# operators that are one kind of kernel, by the name that the rules have for it
SAME = {
    "BatchNormalization": "Conv",
    "FusedConv": "Conv",
    "FusedGemm": "MatMul",
    "FusedMatMul": "MatMul",
    "Gelu": "gelu",
    "Gemm": "MatMul",
    "LayerNormalization": "layernorm",
    "QuickGelu": "silu",
    "SkipLayerNormalization": "layernorm",
    "Split": "split",
    "Upsample": "Resize",
}
FREE = {*VIEWS, "Constant", "Shape", "Size"}


def weighted(model: Any) -> Any:
    """Return the model with random numbers for weights that are all alike."""
    import numpy as np
    from onnx import numpy_helper

    held = {each.name: each for each in model.graph.initializer}
    rng = np.random.default_rng(0)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in held:
            kept.append(node)
            continue
        value = numpy_helper.to_array(node.attribute[0].t)
        weight = np.full(numpy_helper.to_array(held[node.input[0]]), value[0], value.dtype)
        if value.dtype.kind == "f":
            weight = np.abs(rng.normal(0.01, 0.01, weight.shape)).astype(value.dtype)
        model.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def by_onnxruntime(path: Path) -> Counter[str]:
    """Return the operators of the graph that onnxruntime runs."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        onnx.save(weighted(onnx.load(path)), source)
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(target).graph.node
        return Counter(SAME.get(node.op_type, node.op_type) for node in nodes if node.op_type not in FREE)


def by_rules(path: Path) -> Counter[str]:
    """Return the operators of the kernels that the rules lead to."""
    from onnx_pare.cost.count import count
    from onnx_pare.cost.kernels import kernels
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, input_shapes

    model = load_model(path)
    shapes = infer(model, input_shapes(model))
    names = [
        each.op.rpartition(":")[2] for each in kernels(model, shapes, count(model, shapes), "onnxruntime-cpu")
    ]
    return Counter(SAME.get(name, name) for name in names)


def paths(given: list[Path]) -> Iterator[Path]:
    for path in given:
        yield from sorted(path.rglob("*.onnx")) if path.is_dir() else [path]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("PARE_SHARED", "../shared"))
    parser.add_argument("paths", nargs="*", type=Path, default=[shared / "archs"])
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    off = []
    for path in paths(options.paths):
        theirs, ours = by_onnxruntime(path), by_rules(path)
        off.append(abs(ours.total() / theirs.total() - 1))
        differing = sorted(op for op in theirs | ours if theirs[op] != ours[op])
        if differing or options.all:
            ops = " ".join(f"{op} {theirs[op]}/{ours[op]}" for op in differing)
            print(f"{path.parent.name}/{path.stem:42} {theirs.total():5} {ours.total():5}  {ops}", flush=True)
    exact, close = sum(each == 0 for each in off), sum(each <= 0.1 for each in off)
    median = statistics.median(off)
    print(f"{len(off)} graphs: {exact} with equal numbers, {close} within 10 %, median {median:.1%} off")


if __name__ == "__main__":
    main()
