"""Fit hw_profiles/costs/onnxruntime-cpu.yaml: what kinds of operators cost in onnxruntime, to each other.

    python scripts/fit_local_costs.py GRAPHS --profiles FOLDER > hw_profiles/costs/onnxruntime-cpu.yaml

GRAPHS is a folder of ONNX graphs without weights, as benchmarks/untrained.py describes them. Each is given
random weights and run on one thread with onnxruntime's profiler. Every kernel of it is one measurement; those
of one class of operators are fitted together. Int8 costs come from the small networks that machines are
calibrated on. FOLDER keeps the profiles, so that a second run measures only what is new. Needs scipy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from onnx_pare.cost.class_table import CLASS_OF
from onnx_pare.cost.kernels import Kernel
from onnx_pare.cost.op_classes import FEW_CHANNELS, FEW_ROWS, uneven
from onnx_pare.hw_profiles.calibrate import COSTS, fastest_s, prepare
from onnx_pare.hw_profiles.calibrate import START as CALIBRATION_START
from onnx_pare.hw_profiles.dtypes import computing
from onnx_pare.hw_profiles.micro_networks import NETWORKS
from onnx_pare.hw_profiles.micro_stacks import STACKS
from onnx_pare.hw_profiles.predictor import CLASSES, ClassCost, Work, cost_table, times

BLOCK = 16
MEASURE_S = 2.0
FEWEST = 4  # kernels that a class must have
START = ClassCost(1, 1, 1, 1, 1, 1, 2)
SPREAD = np.array([2, 2, 1.5, 1, 2, 2, 2])
INT8_SPREAD, INT8_NOISE = np.array([1.2, 1, 0.5, 0.7, 0.3, 0.3, 0.5]), 0.07
SHAPES = slice(4, 7)  # columns of what narrow layers and small maps lose
SIMPLEST = {
    "round": "nearest", "select": "all", "correct_bias": False, "equalize": False, "min_sqnr_db": None,
    "clip_weights": False, "calibration": "minmax", "per_channel": True,
}  # fmt: skip
INT8_GRAPHS = (
    "torchvision/mobilenet_v2", "torchvision/resnet18", "torchvision/shufflenet_v2_x1_0",
    "torchvision/mobilenet_v3_small", "timm/efficientnet_lite0", "torchvision/squeezenet1_1",
    "torchvision/regnet_x_400mf", "timm/ghostnet_100", "torchvision/mnasnet0_5", "ncnn/mobilenet",
    "timm/deit_tiny_patch16_224", "timm/convnext_atto", "torchvision/efficientnet_b0",
    "torchvision/densenet121", "torchvision/regnet_y_400mf", "torchvision/resnet50", "ncnn/yolo-fastestv2",
    "timm/mobilenetv3_large_100", "torchvision/googlenet", "timm/mobilevit_xxs", "timm/repvgg_a0",
    "timm/lcnet_100", "timm/pvt_v2_b0", "timm/mixnet_s", "timm/levit_128s", "ncnn/nanodet_m",
    "timm/efficientformer_l1", "torchvision/vit_b_32", "timm/hrnet_w18_small", "timm/poolformerv2_s12",
    "timm/resmlp_12_224",
)  # fmt: skip
PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul")
# views, and what the model has no kernel for
LEFT_OUT = frozenset(
    {"Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze", "MultiHeadAttention"}
)
OWN = {
    "QuickGelu": "function",
    "ReorderInput": "copy",
    "ReorderOutput": "copy",
    "SkipLayerNormalization": "normalization",
}
COLUMNS = tuple(field.name for field in fields(ClassCost))


@dataclass
class Sample:
    kernel: Kernel
    us: list[float]
    share: float = 0.0


def profile(path: Path, folder: Path) -> dict[str, Any]:
    """Return the profile of a graph, from the folder if it is there."""
    kept = folder / f"{path.parent.name}__{path.name}.json"
    if not kept.exists():
        kept.write_text(json.dumps(measured(path)))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def measured(path: Path) -> dict[str, Any]:
    """Return the time of a graph in ms (`p10`) and its kernels (`events`), the fast ones of all runs."""
    import onnx
    from fit_kernel_costs import events
    from weighted import feeds, weighted

    with tempfile.TemporaryDirectory() as folder:
        file, model = Path(folder) / "model.onnx", weighted(path)
        onnx.save(model, file)
        fed = feeds(model)
        return {
            "p10": 1e3 * fastest_s(file, fed, 1, MEASURE_S),
            "events": [
                {
                    "name": name,
                    "us": us,
                    "op": given["op_name"],
                    "i": given.get("input_type_shape"),
                    "o": given.get("output_type_shape"),
                }
                for name, given, us in events(file, fed)
            ],
        }


def samples(profiles: Sequence[Mapping[str, Any]]) -> dict[str, list[Sample]]:
    """Return class -> kernels of that class, each shape once."""
    found: dict[str, dict[str, Sample]] = defaultdict(dict)
    for one in profiles:
        total = sum(event["us"] for event in one["events"])
        if one["p10"] * 1e3 < 0.85 * total:
            continue  # something else ran while it was profiled
        overhead = _profiler_us(one, total)
        for event in one["events"]:
            kernel = as_kernel(event)
            if kernel is not None:
                us = max(0.5, event["us"] - overhead)
                key = f"{kernel.op} {event['i']} {event['o']}"
                sample = found[kernel.op_class].setdefault(key, Sample(kernel, []))
                sample.us.append(us)
                sample.share += us / total
    return {name: list(each.values()) for name, each in found.items()}


def _profiler_us(one: Mapping[str, Any], total_us: float) -> float:
    """Return what the profiler adds to a kernel: of short models what their time in all is less."""
    if one["p10"] > 12:
        return 2.0
    return float(np.clip((total_us - one["p10"] * 1e3) / len(one["events"]), 0.5, 3.5))


def as_kernel(event: Mapping[str, Any]) -> Kernel | None:
    """Return a profiled kernel as `kernels` would count it, None if it has no counterpart."""
    read, made = ([tuple(*entry.values()) for entry in event[key] or []] for key in "io")
    op = event["op"]
    if not (read and made and made[0]) or op in LEFT_OUT:
        return None
    if "float" not in event["i"][0]:
        return None
    if op in ("Conv", "FusedConv"):
        return _conv(event["name"], read, made[0])
    if op in PRODUCTS:
        return _product(event["name"], op, read, made[0])
    kind = OWN.get(op) or CLASS_OF.get(op) or CLASS_OF.get(f"com.microsoft:{op}") or "elementwise"
    size = sum(map(prod, made))
    return Kernel(event["name"], op, kind, 1, 0, 4 * sum(map(prod, read)), 4 * size, 0, size)


def _conv(name: str, read: Sequence[tuple[int, ...]], made: tuple[int, ...]) -> Kernel | None:
    if len(made) != 4 or len(read) < 2 or len(read[1]) != 4:
        return None
    image, weight = read[0], read[1]
    depthwise = weight[1] == 1 < image[1] <= made[1]
    whole = image[1] % weight[1] == 0
    groups = image[1] if depthwise else image[1] // weight[1] if whole else 1
    inner, outer = image[1] // groups, made[1] // groups
    area, positions = weight[2] * weight[3], made[0] * made[2] * made[3]
    stride = max(1, round(image[2] / made[2]))
    kind = _conv_class(groups, inner, area, positions, stride)
    return Kernel(
        name, "Conv", uneven(kind, inner=inner, outer=outer, groups=groups, block=BLOCK), 1,
        prod(made) * inner * area, 4 * prod(image) + (4 * prod(made) if len(read) > 3 else 0), 4 * prod(made),
        4 * made[1] * (inner * area + 1), prod(made), inner, outer, positions, area, stride, groups,
    )  # fmt: skip


def _conv_class(groups: int, inner: int, area: int, positions: int, stride: int) -> str:
    if groups > 1:
        return "grouped" if inner > 1 else "depthwise" if area <= 9 else "depthwise_large"
    if inner <= FEW_CHANNELS and area > 1:
        return "stem"
    if area == 1:
        return "pointwise" if positions > FEW_ROWS else "fully_connected"
    return "conv_strided" if stride > 1 else "conv3x3" if area == 9 else "conv"


def _product(name: str, op: str, read: Sequence[tuple[int, ...]], made: tuple[int, ...]) -> Kernel | None:
    """Return a matrix product; weights that are packed ahead are not among what it reads."""
    columns, size = made[-1], prod(made)
    rows = size // columns
    if len(read) > 1 and len(read[1]) > 1 and "Gemm" not in op:
        depth = prod(read[0]) // max(1, rows)
        both = 4 * (prod(read[0]) + prod(read[1]))
        return Kernel(name, op, "matmul", 1, size * depth, both, 4 * size, 0, size, depth, columns, rows)
    depth = read[0][-1]
    kind = "fully_connected" if rows <= FEW_ROWS else "linear"
    weights = 4 * (depth * columns + columns)
    return Kernel(
        name, op, kind, 1, size * depth, 4 * prod(read[0]), 4 * size, weights, size, depth, columns, rows
    )


def fit(found: Sequence[Sample]) -> tuple[ClassCost, float]:
    """Return the costs of a class, and the mean of |log error| of its kernels, weighed by their time."""
    work = Work.of([sample.kernel for sample in found])
    us = np.log([np.median(sample.us) for sample in found])
    share = np.array([sample.share for sample in found])
    weight = 5 * np.sqrt(np.minimum(share / share.mean(), 10))
    start = np.array(astuple(START))
    if not any(sample.kernel.macs for sample in found):
        start[SHAPES] = 0

    def errors(table: Any) -> Any:
        return np.log(seconds(work, np.tile(table, (len(CLASSES), 1)), "float32") * 1e6) - us

    best = solve(lambda table: errors(table) * weight, start, SPREAD)
    error = float((np.abs(errors(best)) * share).sum() / share.sum())
    return rounded(best), error


def solve(residuals: Any, start: Any, spread: Any) -> Any:
    """Minimize residuals and how far costs stray from where they start, both as logarithms; 0 stays 0."""
    from scipy.optimize import least_squares

    free = start > 0
    origin, deviation = np.log(start[free]), np.broadcast_to(spread, start.shape)[free]

    def table(point: Any) -> Any:
        made = np.zeros(start.shape)
        made[free] = np.exp(point)
        return made

    def both(point: Any) -> Any:
        return np.concatenate([residuals(table(point)), (point - origin) / deviation])

    return table(least_squares(both, origin, loss="soft_l1", f_scale=0.7, max_nfev=100).x)


def seconds(work: Work, table: Any, dtype: str) -> Any:
    start = CALIBRATION_START[dtype]
    rates = np.array([start.work_per_s, start.bytes_per_s, start.overhead_s])
    return times(work, table, rates, np.ones(len(table))).total_s


def rounded(row: Any) -> ClassCost:
    return ClassCost(*(float(f"{value:.3g}") for value in row))


def fit_int8(
    measured: Sequence[tuple[float, Sequence[Kernel]]], floats: Mapping[str, ClassCost]
) -> dict[str, ClassCost]:
    """Return costs of classes in int8 models from the times of whole networks in s.

    What they compute in float without MACs is fitted with what they do in int8, as `predict` takes it.
    """
    every = [(owner, kernel) for owner, (_, kernels) in enumerate(measured) for kernel in kernels]
    own = [(owner, k) for owner, k in every if computing(k) == "int8" or not k.macs]
    known = np.zeros(len(measured))
    for owner, (_, kernels) in enumerate(measured):
        rest = [kernel for kernel in kernels if computing(kernel) != "int8" and kernel.macs]
        known[owner] = seconds(Work.of(rest), cost_table(floats), "float32").sum()
    work = Work.of([kernel for _, kernel in own])
    owners, logs = np.array([owner for owner, _ in own]), np.log([time for time, _ in measured])
    start = np.array([_int8_start(floats.get(name)) for name in CLASSES])

    def residuals(found: Any) -> Any:
        total = known + np.bincount(owners, seconds(work, found, "int8"), minlength=len(measured))
        return (np.log(total) - logs) / INT8_NOISE

    best = solve(residuals, start, INT8_SPREAD)
    seen = {kernel.op_class for _, kernel in own}
    return {name: rounded(row) for name, row in zip(CLASSES, best, strict=True) if name in seen}


def _int8_start(cost: ClassCost | None) -> tuple[float, ...]:
    """Start with MACs at int8's rate, with the shape terms of float32; without, at the costs of float32."""
    if cost is None:
        return (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    if any(astuple(cost)[SHAPES]):
        return (1.0, 1.0, 1.0, 1.0, *astuple(cost)[SHAPES])
    faster = CALIBRATION_START["int8"].work_per_s / CALIBRATION_START["float32"].work_per_s
    return astuple(replace(cost, compute=cost.compute * faster))


def networks_int8(graphs: Path, folder: Path) -> Iterator[tuple[float, list[Kernel]]]:
    """Yield seconds and kernels of the small networks in int8, and of quantized graphs."""
    kept = folder / "int8.json"
    if not kept.exists():
        found = [*_small_int8(), *(_quantized(graphs / f"{name}.onnx") for name in INT8_GRAPHS)]
        kept.write_text(json.dumps([(time, [dataclasses.asdict(k) for k in ks]) for time, ks in found]))
    for time, ks in json.loads(kept.read_text()):
        yield time, [Kernel(**each) for each in ks]


def _small_int8() -> Iterator[tuple[float, Sequence[Kernel]]]:
    with tempfile.TemporaryDirectory() as folder:
        for one in prepare("int8", [*NETWORKS, *STACKS], Path(folder)):
            yield fastest_s(one.path, one.feeds, 1, MEASURE_S / 4), one.kernels


def _quantized(path: Path) -> tuple[float, Sequence[Kernel]]:
    """Return seconds and kernels of a graph with random weights, quantized in the simplest way."""
    import onnx
    from weighted import feeds, weighted

    from onnx_pare.calibration.synthetic import synthetic_samples
    from onnx_pare.cost.count import count
    from onnx_pare.cost.kernels import kernels
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.shapes import infer
    from onnx_pare.passes.base import Context
    from onnx_pare.passes.quantize_int8 import QuantizeInt8

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        proto = weighted(path)
        onnx.save(proto, source)
        model = load_model(source)
        options = QuantizeInt8.Options.model_validate(SIMPLEST)
        context = Context(samples=synthetic_samples(model, count=1), scratch=Path(folder))
        write_model(QuantizeInt8(options).apply(model, context).model, target)
        quantized = load_model(target)
        shapes = infer(quantized, {})
        found = kernels(quantized, shapes, count(quantized, shapes), COSTS)
        return fastest_s(target, feeds(proto), 1, MEASURE_S), found


def rows(dtype: str, fitted: Mapping[str, ClassCost]) -> Iterator[str]:
    yield f"  {dtype}:"
    for name, cost in sorted(fitted.items()):
        pairs = zip(COLUMNS, astuple(cost), astuple(ClassCost()), strict=True)
        cells = ", ".join(f"{key}: {value:g}" for key, value, usual in pairs if value != usual)
        yield f"    {name}: {{{cells}}}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("graphs", type=Path)
    parser.add_argument("--profiles", type=Path, default=Path(tempfile.gettempdir()) / "onnx-pare-profiles")
    given = parser.parse_args()
    given.profiles.mkdir(parents=True, exist_ok=True)
    profiles = [profile(path, given.profiles) for path in sorted(given.graphs.rglob("*.onnx"))]
    floats = {}
    for name, found in sorted(samples(profiles).items()):
        if len(found) >= FEWEST:
            floats[name], error = fit(found)
            print(f"{name:<18}{len(found):6} kernels, mean |log error| {error:.3f}", file=sys.stderr)
    integers = fit_int8(list(networks_int8(given.graphs, given.profiles)), floats)
    floats["quantize"] = integers["quantize"]  # no graph without int8 has one
    lines = [*header(len(profiles)), *rows("float32", floats), *rows("int8", integers), *FROM_FACTS]
    sys.stdout.write("\n".join(lines) + "\n")


# B/F and o·F of the machine that the costs are fitted on, calibrated. What devices reach of their peak is
# taken from ncnn on CPUs, int8 in the same ratio to float32 as here: no second machine was measured
FROM_FACTS = (
    "from_facts:",
    "  float32: {peak_share: 0.72, bytes_per_mac: 0.45, macs_per_launch: 294000, spread: 0.6}",
    "  int8: {peak_share: 0.58, bytes_per_mac: 0.11, macs_per_launch: 558000, spread: 0.7}",
)


def header(graphs: int) -> Iterator[str]:
    import onnxruntime as ort

    from onnx_pare.hw_profiles.cpu import features

    yield "# Written by scripts/fit_local_costs.py: see there."
    yield f"# {features().name}, onnxruntime {ort.__version__}, 1 thread; profiles of {graphs} graphs"
    yield "title: onnxruntime on CPUs"
    yield "fusion: onnxruntime-cpu"
    yield "classes:"


if __name__ == "__main__":
    main()
