"""Fit core/quantization/kernel_costs.yaml to profiles of onnxruntime on this machine.

    python scripts/fit_kernel_costs.py NAME MODEL... > core/quantization/kernel_costs.yaml

NAME is the instruction set, as in `kernel_costs.TABLES`. Every float model is run as it is and quantized,
with onnxruntime's profiler, on one thread; the fast tenth of each kernel's times counts, since other programs
only make it slower. The constants of each kind of kernel minimize the mean of
|log(predicted / measured)|^1.5.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

RUNS, STEPS = 15, 4000
# samples a kind must have to get a row
FEWEST = 4
TOLD = tuple(
    f"{part} {kind}" for kind in ("convolution", "pointwise", "depthwise") for part in ("float32", "int8")
)
Sample = tuple[Any, float]  # Work, µs
# kernel of the optimized graph -> part and kind of the table
KERNELS = {
    "QLinearAdd": ("int8", "Add"),
    "QLinearMul": ("int8", "Mul"),
    "QLinearConcat": ("int8", "Concat"),
    "QLinearSigmoid": ("int8", "Sigmoid"),
    "QLinearLeakyRelu": ("int8", "LeakyRelu"),
    "QLinearAveragePool": ("int8", "AveragePool"),
    "QLinearGlobalAveragePool": ("int8", "GlobalAveragePool"),
    "NhwcMaxPool": ("int8", "MaxPool"),
    "QGemm": ("int8", "product"),
    "MatMulIntegerToFloat": ("int8", "product"),
    "Gemm": ("float32", "product"),
    "MatMul": ("float32", "product"),
    "FusedGemm": ("float32", "product"),
    "FusedMatMul": ("float32", "product"),
    "QuickGelu": ("float32", "Sigmoid"),
    "QuantizeLinear": ("borders", "quantize"),
    "DequantizeLinear": ("borders", "dequantize"),
    "ReorderInput": ("borders", "float layout"),
    "ReorderOutput": ("borders", "float layout"),
}
CONVS = {"Conv": "float32", "FusedConv": "float32", "QLinearConv": "int8"}
VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def events(path: Path, feeds: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], float]]:
    """Yield node name, arguments and µs of every kernel of a model."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(RUNS):
            session.run(None, dict(feeds))
        lines = json.loads(Path(session.end_profiling()).read_text())
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    arguments = {}
    for line in lines:
        if line.get("cat") == "Node" and line["name"].endswith("_kernel_time"):
            key = (line["name"].removesuffix("_kernel_time"), line["args"].get("node_index", ""))
            times[key].append(line["dur"])
            arguments[key] = line["args"]
    for key, durations in times.items():
        yield key[0], arguments[key], float(np.percentile(durations, 10))


def shapes(listed: Sequence[Mapping[str, list[int]]] | None) -> list[tuple[int, ...]]:
    return [tuple(next(iter(entry.values()))) for entry in listed or []]


def samples(path: Path) -> Iterator[tuple[str, str, Sample]]:
    """Yield part, kind and sample of every kernel of a float model and of its int8 form."""
    from onnx_pare.calibration.synthetic import synthetic_samples
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.save import write_model
    from onnx_pare.passes.base import Context
    from onnx_pare.passes.quantize_int8 import QuantizeInt8

    model = load_model(path)
    weights = {name: tuple(value.shape or ()) for name, value in model.graph.initializers.items()}
    layers = {
        node.name: (weights.get(node.inputs[1].name, ()), node.attributes.get_int("group", 1))
        for node in model.graph
        if node.op_type == "Conv"
    }
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic_samples(model, count=2)
        outcome = QuantizeInt8().apply(model.clone(), Context(samples=data, scratch=Path(folder)))
        quantized = Path(folder) / "int8.onnx"
        write_model(outcome.model, quantized)
        feeds = next(iter(data))
        for file in (path, quantized):
            for name, arguments, us in events(file, feeds):
                found = sample(name, arguments, us, layers)
                if found is not None:
                    yield found


def sample(
    name: str, arguments: Mapping[str, Any], us: float, layers: Mapping[str, Any]
) -> tuple[str, str, Sample] | None:
    from onnx_pare.quantization.work import Work, convolution

    op = arguments["op_name"]
    read, made = shapes(arguments.get("input_type_shape")), shapes(arguments.get("output_type_shape"))
    if not read or not made or not made[0] or op in VIEWS:
        return None
    if op in CONVS:
        work = _conv(op, name, read, made[0], layers, convolution)
        return None if work is None else (CONVS[op], work.kind, (work, us))
    integers = "uint8" in arguments["input_type_shape"][0]
    part, kind = KERNELS.get(op, ("int8" if integers else "float32", op))
    if kind == "product":
        depth, width = read[0][-1], made[0][-1]
        size = Work(
            kind,
            prod(made[0]) * depth,
            prod(read[0]) + prod(made[0]),
            0,
            depth,
            width,
            prod(made[0]) // width,
        )
        return part, kind, (size, us)
    size = Work(kind, 0, max(prod(shape) for shape in [*read, *made]))
    if op == "Transpose" and integers and len(made[0]) == 4:
        return "borders", "int8 layout", (size, us)
    return part, kind, (size, us)


def _conv(
    op: str,
    name: str,
    read: list[tuple[int, ...]],
    made: tuple[int, ...],
    layers: Mapping[str, Any],
    convolution: Any,
) -> Any:
    if len(made) != 4:
        return None
    if op != "QLinearConv":
        return (
            convolution(read[0][1] // read[1][1], read[0], read[1], made)
            if read[0][1] % read[1][1] == 0
            else None
        )
    weight, group = layers.get(re.sub(r"_token_\d+$", "", name), ((), 1))
    if len(weight) != 4:
        return None
    if made[-1] == weight[0]:  # channels last, as onnxruntime prefers it
        read, made = [(read[0][0], read[0][3], *read[0][1:3])], (made[0], made[3], *made[1:3])
    return convolution(group, read[0], weight, made)


def fit(found: Sequence[Sample]) -> tuple[dict[str, float], float]:
    """Return the constants of a Row by random search, and the median of |log error|."""
    from onnx_pare.quantization.kernel_costs import Row

    us = np.array([time for _, time in found])
    has_macs = any(work.macs for work, _ in found)
    names = ["overhead_us", "element_ns"] + (["mac_ps", "depth", "width", "positions"] if has_macs else [])
    start = {
        "overhead_us": 3.0,
        "element_ns": 0.2,
        "mac_ps": 10.0,
        "depth": 5.0,
        "width": 5.0,
        "positions": 5.0,
    }
    rng = np.random.default_rng(0)
    best, step = np.log([start[name] for name in names]), 1.0

    def errors(point: Any) -> Any:
        row = Row(**dict(zip(names, np.exp(point).tolist(), strict=True)))
        return np.abs(np.log(np.array([row.us(work, gathers=True) for work, _ in found]) / us))

    lowest = np.mean(errors(best) ** 1.5)
    for _ in range(STEPS if has_macs else STEPS // 4):
        point = best + rng.normal(size=len(names)) * step * (rng.random(len(names)) < 0.5)
        point[0] = np.clip(point[0], 0.0, np.log(8.0))
        loss = np.mean(errors(point) ** 1.5)
        if loss < lowest:
            best, lowest = point, loss
        step = max(0.03, step * 0.999)
    constants = {name: float(f"{value:.3g}") for name, value in zip(names, np.exp(best), strict=True)}
    return {k: v for k, v in constants.items() if v > 1e-3 or k == "element_ns"}, float(
        np.median(errors(best))
    )


def table(name: str, found: Mapping[tuple[str, str], Sequence[Sample]], models: Sequence[str]) -> str:
    """Return the file's text: rows of kinds with enough samples, and those made of others."""
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    parts: dict[str, dict[str, dict[str, float]]] = {"float32": {}, "int8": {}, "borders": {}}
    errors = {}
    for (part, kind), listed in sorted(found.items()):
        if len(listed) >= FEWEST:
            parts[part][kind], errors[f"{part} {kind}"] = fit(listed)
    borders, floats, integers = parts["borders"], parts["float32"], parts["int8"]
    parts["borders"] = {
        "quantize": total(borders["quantize"], borders["int8 layout"]),
        "dequantize": total(borders["dequantize"], borders["int8 layout"], borders["float layout"]),
    }
    floats["HardSwish"] = total(floats["Mul"], floats["Mul"])  # HardSigmoid, then Mul
    floats["other"] = floats["Slice"]
    integers["HardSigmoid"] = integers["Add"]
    integers["HardSwish"] = total(integers["Add"], integers["Mul"])
    integers["AveragePool"] = integers["MaxPool"]  # as a depthwise convolution
    integers["other"] = integers["Slice"]
    lines = [
        "# How long kernels of onnxruntime take; written by scripts/fit_kernel_costs.py.",
        f"# {features().name}, onnxruntime {ort.__version__}, 1 thread; profiles of {len(models)} models:",
        *comment(models),
        "# median |log(predicted / measured)|:",
        *comment(f"{kind} {errors[kind]:.2f}" for kind in TOLD if kind in errors),
        f"{name}:",
    ]
    for part, rows in parts.items():
        lines.append(f"  {part}:")
        for kind, row in sorted(rows.items()):
            cells = ", ".join(f"{key}: {value:g}" for key, value in row.items())
            lines.append(f"    {kind}: {{{cells}}}")
    return "\n".join(lines) + "\n"


def comment(words: Iterable[str]) -> list[str]:
    return textwrap.wrap(", ".join(words), 108, initial_indent="#   ", subsequent_indent="#   ")


def total(*rows: Mapping[str, float]) -> dict[str, float]:
    return {key: sum(row.get(key, 0.0) for row in rows) for key in ("overhead_us", "element_ns")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("models", nargs="+", type=Path)
    given = parser.parse_args()
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for path in given.models:
        print(path.name, file=sys.stderr)
        for part, kind, one in samples(path):
            found[part, kind].append(one)
    sys.stdout.write(table(given.name, found, [path.stem for path in given.models]))


if __name__ == "__main__":
    main()
