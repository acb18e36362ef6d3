"""Reads published latencies, and the graphs they belong to, for fit_profiles.py and benchmarks/prediction.py.

The tables are those of a folder with `truth/` and `archs/`; none of them is part of this project. Every
function takes what the folder holds: more devices or model families make no change here necessary.
"""

from __future__ import annotations

import csv
import pickle
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, str]
Floats = np.ndarray[Any, np.dtype[np.float64]]
# families of one design under several names
SAME_FAMILY = {
    "mobilenetv2": "mobilenet",
    "yolo-fastest-": "yolo",
    "yolo-fastestv": "yolo",
    "FastestDet": "yolo",
}


@dataclass(frozen=True)
class Run:
    """Several models measured on one device under equal conditions."""

    device: str
    threads: int
    label: str


@dataclass(frozen=True)
class Table:
    """Latencies of one kind of runtime.

    Attributes:
        runs: Rows.
        names, families: Of the models, columns.
        kernels: Of each model.
        seconds: Shape (runs, models); NaN where there is no figure.
    """

    runs: Sequence[Run]
    names: Sequence[str]
    families: Sequence[str]
    kernels: Sequence[Any]
    seconds: Floats
    notes: Sequence[str] = field(default_factory=tuple)

    def only(self, rows: Iterable[int]) -> Table:
        """Return the table with some runs only."""
        kept = list(rows)
        return replace(self, runs=[self.runs[i] for i in kept], seconds=self.seconds[kept])

    def with_models(self, columns: Iterable[int]) -> Table:
        """Return the table with some models only."""
        kept = list(columns)
        return replace(
            self,
            names=[self.names[i] for i in kept],
            families=[self.families[i] for i in kept],
            kernels=[self.kernels[i] for i in kept],
            seconds=self.seconds[:, kept],
        )


class Graphs:
    """The kernels of graphs, for any rule set; kept in a file, since reading all takes minutes."""

    def __init__(self, archs: Path, cache: Path | None = None) -> None:
        self._archs, self._cache = archs, cache
        self._found: dict[tuple[str, str, str], Any] = {}
        if cache is not None and cache.exists():
            self._found = pickle.loads(cache.read_bytes())

    def kernels(self, group: str, name: str, rules: str) -> Any:
        """Return the kernels of a graph; None if there is no such graph."""
        key = (group, name, rules)
        if key not in self._found:
            path = self._archs / group / f"{name}.onnx"
            self._found.update(_kernels(group, path) if path.exists() else {key: None})
        return self._found.get(key)

    def save(self) -> None:
        """Keep what was read."""
        if self._cache is not None:
            self._cache.write_bytes(pickle.dumps(self._found))


def _kernels(group: str, path: Path) -> dict[tuple[str, str, str], Any]:
    from onnx_pare.cost.count import count
    from onnx_pare.cost.fusion import RULES
    from onnx_pare.cost.kernels import kernels
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.shapes import infer, input_shapes

    model = load_model(path)
    shapes = infer(model, input_shapes(model))
    cost = count(model, shapes)
    return {(group, path.stem, rules): kernels(model, shapes, cost, rules) for rules in RULES}


def rows(path: Path) -> list[Row]:
    """Read a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def families(archs: Path, group: str) -> dict[str, str]:
    """Return the family of each graph, one name for one design."""
    return {
        row["name"]: SAME_FAMILY.get(row["family"], row["family"])
        for row in rows(archs / "truth.csv")
        if row["set"] == group
    }


def ncnn(
    truth: Path, archs: Path, graphs: Graphs, *, gpu: bool, int8: bool, rules: str, fewest: int = 8
) -> Table:
    """Read ncnn's benchmark, its fastest of several loops; runs with fewer models are left out."""
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    for row in rows(truth / "ncnn_benchmark.csv"):
        if (row["gpu_device"] != "-1") != gpu or row["model"].endswith("_int8") != int8:
            continue
        run = Run(
            row["device"], int(row["num_threads"]), f"{row['run_id']}/{row['note']}/{row['gpu_device']}"
        )
        found[run][row["model"]] = float(row["min_ms"]) / 1e3
    return _table(found, families(archs, "ncnn"), lambda name: graphs.kernels("ncnn", name, rules), fewest)


def timm(
    archs: Path, graphs: Graphs, *, rules: str, select: Callable[[Row], bool], fewest: int = 50
) -> Table:
    """Read timm's benchmark results, per image, joined to graphs."""
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    batches: dict[Run, list[float]] = defaultdict(list)
    for row in rows(archs / "latency.csv"):
        if row["set"] == "timm" and select(row):
            run = Run(row["device"], 0, f"{row['runtime']}/{row['precision']}/{row['source']}")
            found[run][row["name"]] = float(row["ms_per_image"]) / 1e3
            batches[run].append(float(row["batch"]))
    largest = max((max(each) for each in batches.values()), default=1.0)
    factor = 1 if largest == 1 else round(float(np.median([b for each in batches.values() for b in each])))

    def kernels(name: str) -> Any:
        made = graphs.kernels("timm", name, rules)
        return made and [shared_by(kernel, factor) for kernel in made]

    return _table(found, families(archs, "timm"), kernels, fewest)


def shared_by(kernel: Any, batch: int) -> Any:
    """Return a kernel as its share of one image in a batch: weights are read once for all."""
    return replace(kernel, weight_bytes=kernel.weight_bytes / batch, rows=kernel.rows * batch)


def _table(
    found: Mapping[Run, Mapping[str, float]],
    families: Mapping[str, str],
    kernels: Callable[[str], Any],
    fewest: int,
) -> Table:
    every = sorted({name for each in found.values() for name in each})
    names = [name for name in every if kernels(name)]
    seconds = np.array([[each.get(name, np.nan) for name in names] for each in found.values()])
    keep = np.isfinite(seconds).sum(axis=1) >= fewest
    runs = [run for run, kept in zip(found, keep, strict=True) if kept]
    missing = tuple(f"no graph of {name}" for name in every if name not in names)
    table = Table(
        runs,
        names,
        [families.get(name, name) for name in names],
        [kernels(name) for name in names],
        seconds[keep],
        missing,
    )
    used = np.isfinite(table.seconds).any(axis=0)
    return table.with_models(np.flatnonzero(used))


def as_dtype(kernels: Sequence[Any], dtype: str) -> list[Any]:
    """Return kernels as if those with MACs computed in a data type and stored in it."""
    from onnx_pare.cost.op_classes import MAC_CLASSES
    from onnx_pare.hw_profiles import dtypes

    return [
        dtypes.as_dtype(kernel, dtype) if kernel.op_class in MAC_CLASSES else kernel for kernel in kernels
    ]


# what the tables' README calls erratic
ERRATIC = re.compile(r"macbook_pro_m1.*int8|firefly-tflite-v2\.(4|7).*float32")
_MOBILENET = re.compile(r"mobilenet-v([12])-(?:precision_\w+-)?([0-9.]+)-([0-9]+)")
_LITE = re.compile(r"efficientnet-(?:fp32-|int8-)?lite([0-4])")


def tflite(truth: Path, graphs: Graphs, *, int8: bool, fewest: int = 8) -> Table:
    """Read the single-stream results of TensorFlow Lite in MLPerf Inference: mostly MobileNets."""
    dtype = "int8" if int8 else "float32"
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    for row in rows(truth / "mlperf_inference_singlestream.csv"):
        model = row["model"]
        quantized = re.search(r"uint8|int8|(?<!non-)quantized", model) is not None
        label = f"{row['system']}/{dtype}"
        if "tflite" not in row["system"] or quantized != int8 or ERRATIC.search(label):
            continue
        name = _mlperf_name(model)
        if name:
            run = Run(row["system"], 0, f"{row['round']}/{dtype}")
            found[run].setdefault(name, float(row["mean_ms"]) / 1e3)

    def kernels(name: str) -> Any:
        made = _mlperf_kernels(name, graphs)
        return made and (as_dtype(made, "int8") if int8 else made)

    families = {name: name.split("/")[0] for each in found.values() for name in each}
    return _table(found, families, kernels, fewest)


def _mlperf_name(model: str) -> str:
    if match := _MOBILENET.match(model):
        return f"mobilenet{match[1]}/{float(match[2])}/{match[3]}"
    if match := _LITE.match(model):
        return f"efficientnet_lite{match[1]}"
    return "resnet50" if model == "resnet50" else ""


def _mlperf_kernels(name: str, graphs: Graphs) -> Any:
    from mobilenets import mobilenet

    if name.startswith("mobilenet"):
        version, width, size = name.removeprefix("mobilenet").split("/")
        return mobilenet(int(version), float(width), int(size))
    return graphs.kernels("timm", name, "tflite")


def _plain(name: str) -> str:
    """Return a model's name in the spelling of the graphs, without what only some tables write."""
    for old, new in (
        ("resnet_v1_", "resnet"),
        ("mobilenet_v2_1.0", "mobilenet_v2"),
        ("squeezenet_v", "squeezenet"),
        ("inception_v1", "googlenet"),
        ("efficientnetb", "efficientnet_b"),
        ("regnetx_", "regnet_x_"),
    ):
        name = name.lower().replace(old, new)
    return _letters(name)


def named(
    found: Mapping[Run, Mapping[str, float]], archs: Path, graphs: Graphs, rules: str, fewest: int
) -> Table:
    """Join latencies of models, known by name only, to the graphs of that name."""
    known = {
        _letters(row["name"]): (row["set"], row["name"], row["family"])
        for row in rows(archs / "truth.csv")
        if row["set"] in ("timm", "torchvision")
    }
    named_ = {run: {_plain(name): value for name, value in each.items()} for run, each in found.items()}
    families = {name: entry[2] for name, entry in known.items()}

    def kernels(name: str) -> Any:
        return graphs.kernels(*known[name][:2], rules) if name in known else None

    return _table(named_, families, kernels, fewest)


def npu(truth: Path, archs: Path, graphs: Graphs, rules: str) -> Table:
    """Read Hailo's model zoo (frames per second at batch 1), coral.ai and its benchmarks."""
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    for row in rows(truth / "hailo_model_zoo.csv"):
        if row["latency_ms_from_fps_b1"] and row["task"] == "classification":
            seconds = float(row["latency_ms_from_fps_b1"]) / 1e3
            found[Run(row["device"], 1, "hailo_model_zoo")].setdefault(row["model"], seconds)
    for row in rows(truth / "misc_published.csv"):
        if "coral" in row["source"] and "Dev Board" in row["device"]:
            name = re.sub(r"_(\d+\.?\d*_)?\d+_quant.*", "", row["model"]).replace(" ", "_")
            found[Run("Coral Dev Board", 1, "coral")].setdefault(name, float(row["latency_ms"]) / 1e3)
    table = named(found, archs, graphs, rules, 3)
    return replace(table, kernels=[as_dtype(kernels, "int8") for kernels in table.kernels])


def tensorrt(truth: Path, archs: Path, graphs: Graphs, rules: str) -> Table:
    """Read what PaddleClas publishes of TensorRT, batch 1."""
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    for row in rows(truth / "paddleclas.csv"):
        if "V100" in row["device"] and row["batch"] == "1" and row["latency_ms"]:
            found[Run(row["device"], 1, row["dtype"])].setdefault(
                row["model"], float(row["latency_ms"]) / 1e3
            )
    return named(found, archs, graphs, rules, 3)


# MLPerf Tiny's reference models: name of the benchmark -> its family
TINY = {"ad": "autoencoder", "ic": "resnet", "kws": "ds-cnn", "vww": "mobilenet"}


def tiny(truth: Path, fewest: int = 3) -> Table:
    """Read MLPerf Tiny's int8 results of Cortex-M microcontrollers, one run for each submission."""
    processors = {
        (row["round"], row["submitter"], _letters(row["board"])): row
        for row in rows(truth / "mlperf_tiny_systems.csv")
        if "cortex-m" in _letters(row["processor"], keep="-") or "cortexm" in _letters(row["processor"])
    }
    found: dict[Run, dict[str, float]] = defaultdict(dict)
    for row in rows(truth / "mlperf_tiny.csv"):
        if row["mode"] != "performance" or row["dtype_guess"] != "int8" or row["benchmark"] not in TINY:
            continue
        name = _letters(row["system"])
        boards = [
            key for key in processors if key[:2] == (row["round"], row["submitter"]) and key[2][:8] in name
        ]
        if boards:
            system = row["system"].rsplit("/", 1)[0] if row["system"].endswith(tuple(TINY)) else row["system"]
            run = Run(
                max(boards, key=lambda key: len(key[2]))[2], 1, f"{row['round']}/{row['submitter']}/{system}"
            )
            found[run].setdefault(row["benchmark"], float(row["latency_ms"]) / 1e3)
    return _table(found, TINY, lambda name: _tiny_kernels(truth, name), fewest)


def _letters(text: str, keep: str = "") -> str:
    return "".join(c for c in text.lower() if c.isalnum() or c in keep)


def _tiny_kernels(truth: Path, name: str) -> list[Any]:
    """Return the kernels of a reference model, from its table of layers (int8, one byte an element)."""
    return [_tiny_kernel(row) for row in rows(truth / "mlperf_tiny_layers.csv") if row["benchmark"] == name]


def _tiny_kernel(row: Row) -> Any:
    from onnx_pare.cost.kernels import Kernel

    read, made = (
        tuple(int(dim) for dim in row[key].split("x")) if row[key] else (1,)
        for key in ("in_shape", "out_shape")
    )
    macs, weights = int(row["macs"] or 0), int(row["weight_params"] or 0)
    sizes = [int(np.prod(shape)) for shape in (read, made)]
    rows_, outer = sizes[1] // made[-1], made[-1]
    per_output = macs // max(1, sizes[1])
    depthwise = row["op"].startswith("DEPTHWISE")
    inner = 1 if depthwise else read[-1]
    window = max(1, per_output // inner) if macs else 1
    stride = max(1, round((sizes[0] / read[-1] / max(1, rows_)) ** 0.5))
    return Kernel(
        name=f"{row['benchmark']}/{row['idx']}",
        op=row["op"],
        op_class=_tiny_class(row["op"], inner, window, stride, rows_),
        nodes=1,
        macs=macs,
        read_bytes=sizes[0],
        written_bytes=sizes[1],
        weight_bytes=weights,
        elements=sizes[1],
        inner=inner if macs else 0,
        outer=1 if depthwise else outer,
        rows=rows_,
        window=window,
        stride=stride,
        dtype="int8",
    )


def _tiny_class(op: str, inner: int, window: int, stride: int, rows: int) -> str:
    if op.startswith("DEPTHWISE"):
        return "depthwise" if window <= 9 else "depthwise_large"
    if op == "FULLY_CONNECTED":
        return "fully_connected"
    if op == "CONV_2D":
        if window == 1:
            return "pointwise"
        if inner <= 4:
            return "stem"
        return "conv_strided" if stride > 1 else "conv3x3" if window == 9 else "conv"
    if op.endswith("POOL_2D"):
        return "reduce" if rows == 1 else "pool"
    return {"SOFTMAX": "softmax", "ADD": "elementwise"}.get(op, "copy")
