"""Fit hw_profiles/costs/onnxruntime-cpu.yaml: what kinds of operators cost in onnxruntime, to each other.

    python scripts/fit_local_costs.py GRAPHS --profiles FOLDER > hw_profiles/costs/onnxruntime-cpu.yaml

GRAPHS is a folder of ONNX graphs without weights, as benchmarks/untrained.py describes them. Each is given
random weights and run on one thread with onnxruntime's profiler. Every kernel of it is one measurement; those
of one class of operators are fitted together. Int8 costs come from the small networks that machines are
calibrated on. FOLDER keeps the profiles, so that a second run measures only what is new. Needs scipy.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from onnx_pare.cost.class_table import CLASS_OF
from onnx_pare.cost.kernels import Kernel
from onnx_pare.cost.op_classes import FEW_CHANNELS, FEW_ROWS, uneven
from onnx_pare.hw_profiles.predictor import ClassCost, Rates, Work, cost_table, factor_row, times

BLOCK = 16
MEASURE_S = 2.0
FEWEST = 4  # kernels that a class must have
RATES = Rates(60e9, 25e9, 4e-6)  # in whose units costs are
START = ClassCost(1, 1, 1, 1, 1, 1, 2)
SPREAD = np.array([2, 2, 1.5, 1, 2, 2, 2])
PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul")
# moved without a kernel of their own in the model: views, and changes of layout around convolutions
LEFT_OUT = frozenset(
    {"Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze", "MultiHeadAttention"}
)
OWN = {"QuickGelu": "function", "SkipLayerNormalization": "normalization"}
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

    from onnx_pare.hw_profiles.calibrate import fastest_s

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
    if not (read and made and made[0]) or op in LEFT_OUT or op.startswith("Reorder"):
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
    from scipy.optimize import least_squares

    work = Work.of([sample.kernel for sample in found])
    us = np.log([np.median(sample.us) for sample in found])
    share = np.array([sample.share for sample in found])
    weight = 5 * np.sqrt(np.minimum(share / share.mean(), 10))
    start = np.log(astuple(START))

    def errors(point: Any) -> Any:
        return np.log(_seconds(work, np.exp(point)) * 1e6) - us

    def residuals(point: Any) -> Any:
        return np.concatenate([errors(point) * weight, (point - start) / SPREAD])

    best = least_squares(residuals, start, loss="soft_l1", f_scale=0.7, max_nfev=300).x
    error = float((np.abs(errors(best)) * share).sum() / share.sum())
    return ClassCost(*(float(f"{value:.3g}") for value in np.exp(best))), error


def _seconds(work: Work, row: Any) -> Any:
    table = np.tile(row, (len(cost_table({})), 1))
    rates = np.array([RATES.work_per_s, RATES.bytes_per_s, RATES.overhead_s])
    return times(work, table, rates, factor_row({})).total_s


def rows(dtype: str, fitted: Mapping[str, ClassCost]) -> Iterator[str]:
    yield f"  {dtype}:"
    for name, cost in sorted(fitted.items()):
        cells = ", ".join(f"{key}: {value:g}" for key, value in zip(COLUMNS, astuple(cost), strict=True))
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
    sys.stdout.write("\n".join(header(len(profiles))) + "\n" + "\n".join(rows("float32", floats)) + "\n")


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
