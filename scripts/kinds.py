"""The kinds of runtimes that published tables tell about: what is read, and what is known before fitting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import published
from fitting import (
    CENTRE,
    COMPUTE,
    INNER,
    OUTER,
    ROWS,
    SPREAD,
    Fitted,
    Models,
    Prior,
    fit,
    held_out,
    without,
)
from published import Floats, Graphs, Run, Table

from onnx_pare.hw_profiles.predictor import CLASSES

# images of a batch that rates on GPUs were measured with, about
GPU_BATCH = 256


def centre(changes: Mapping[str, Mapping[int, float]] | None = None, **columns: float) -> Floats:
    """Return class costs to start from: CENTRE with columns, and entries of classes, changed."""
    table = np.tile(CENTRE, (len(CLASSES), 1))
    for name, value in columns.items():
        table[:, {"inner": INNER, "outer": OUTER, "rows": ROWS}[name]] = np.log(value)
    for name, entries in (changes or {}).items():
        for column, value in entries.items():
            table[CLASSES.index(name), column] = np.log(value)
    return table


# InnerProduct applies a matrix-vector product to each row (src/layer/innerproduct.cpp)
NCNN = centre({"linear": {COMPUTE: 2.5}})
# CMSIS-NN: bias, requantization and stores cost some 24 MACs an output; depthwise kernels load for every MAC;
# weights of a fully connected layer come from flash and are used once
MCU = centre(
    {"depthwise": {COMPUTE: 4.0}, "depthwise_large": {COMPUTE: 4.0}, "fully_connected": {COMPUTE: 1.4}},
    inner=24.0,
    outer=1.0,
    rows=1.0,
)


@dataclass(frozen=True)
class Part:
    """One table of a kind: runs of one data type.

    Attributes:
        dtype: Of the fits that come out.
        table: Reads it.
        prior: Where no class costs are known yet.
        shares_costs: Whether the class costs are those of the first part.
        from_first: Whether each run's rates are expected near those of the same run in the first part.
    """

    name: str
    dtype: str
    table: Callable[[Path, Path, Graphs], Table]
    prior: Prior
    shares_costs: bool = False
    from_first: bool = False
    folds: int = 0


@dataclass(frozen=True)
class Kind:
    """A kind of runtime: a file of costs.

    Attributes:
        costs: Its name.
        title, fusion: As in the file.
        runtimes: Names under which profiles list it (see devices.yaml).
        parts: Its tables, the first one gives the class costs.
        computes_in: What float models are computed in, where it differs.
        threads: Number of threads that a run stands for in a profile.
        batch: Images of a batch in the table; rates are per image there.
        key: What the patterns of devices.yaml are matched with.
        all_cores: Whether the tables don't say the number of threads, and all cores are meant.
        too_few: Whether the models are too few to fit devices: they only say what share of its peak one
            reaches, and how far a prediction may be off.
    """

    costs: str
    title: str
    fusion: str
    runtimes: Sequence[str]
    parts: Sequence[Part]
    computes_in: Mapping[str, str] = field(default_factory=dict)
    threads: Callable[[Run], int] = lambda run: max(1, run.threads)
    batch: int = 1
    key: Callable[[Run], str] = lambda run: run.device
    too_few: bool = False
    all_cores: bool = False


def _ncnn(gpu: bool, int8: bool, threads: Callable[[int], bool]) -> Callable[[Path, Path, Graphs], Table]:
    def read(truth: Path, archs: Path, graphs: Graphs) -> Table:
        fewest = 3 if int8 else 8
        table = published.ncnn(truth, archs, graphs, gpu=gpu, int8=int8, rules="ncnn", fewest=fewest)
        table = table.only(i for i, run in enumerate(table.runs) if threads(run.threads))
        if int8:
            table = replace(table, kernels=[published.as_dtype(k, "int8") for k in table.kernels])
        return table

    return read


def _timm(rules: str, pattern: str) -> Callable[[Path, Path, Graphs], Table]:
    def read(truth: Path, archs: Path, graphs: Graphs) -> Table:
        def select(row: Mapping[str, str]) -> bool:
            return (
                re.search(pattern, f"{row['device']}|{row['runtime']}|{row['precision']}|{row['source']}")
                is not None
            )

        return published.timm(archs, graphs, rules=rules, select=select)

    return read


def _on_gpu(costs: str, title: str, fusion: str, runtime: str, part: Part) -> Kind:
    """Return PyTorch on GPUs: mixed precision, large batches, no threads."""
    return Kind(
        costs,
        title,
        fusion,
        [runtime],
        [part],
        computes_in={"float32": "float16"},
        threads=lambda run: 1,
        batch=GPU_BATCH,
    )


TIMM_CPU = Prior(factor_spread=0.3, table_weight=0.7)
TIMM_GPU = Prior(factor_spread=0.3, table_weight=1.5)
CORES = {"i7-12700H": 14, "i9-10940X": 14}
TFLITE_CORES = {"rpi4": 4, "macbook_pro_m1": 8, "m7g.2xlarge": 8, "nvidia_orin": 12, "c5.4xlarge": 8}
KINDS: Sequence[Kind] = (
    Kind(
        "ncnn-cpu",
        "ncnn on CPUs",
        "ncnn",
        ["ncnn"],
        [
            Part(
                "1 thread",
                "float32",
                _ncnn(False, False, lambda n: n == 1),
                Prior(table=NCNN, table_weight=0.5),
            ),
            Part(
                "several threads",
                "float32",
                _ncnn(False, False, lambda n: n > 1),
                Prior(table=NCNN, factor_spread=0.1, rates_spread=(1.0, 0.4, 1.0)),
                shares_costs=True,
            ),
            Part(
                "int8, any number of threads",
                "int8",
                _ncnn(False, True, lambda n: n > 0),
                Prior(table=NCNN, table_spread=np.full(7, 0.3), rates_spread=(0.7, 0.2, 0.3)),
                from_first=True,
            ),
        ],
    ),
    Kind(
        "ncnn-vulkan",
        "ncnn on GPUs by way of Vulkan",
        "ncnn",
        ["ncnn-vulkan"],
        [
            Part(
                "Vulkan",
                "float32",
                _ncnn(True, False, lambda n: True),
                Prior(table=NCNN, rates_spread=(1.0, 0.4, 2.0), table_weight=0.2),
            )
        ],
        threads=lambda run: 1,
    ),
    Kind(
        "torch-compiled-cpu",
        "PyTorch 2 with torch.compile on CPUs, all cores",
        "cpu-compiled",
        ["torch-compiled"],
        [Part("timm, CPU", "float32", _timm("cpu-compiled", r"^Intel.*compile"), TIMM_CPU, folds=10)],
        threads=lambda run: next((n for name, n in CORES.items() if name in run.device), 1),
        all_cores=True,
    ),
    _on_gpu(
        "torch-compiled-gpu",
        "PyTorch 2 with torch.compile on NVIDIA GPUs, automatic mixed precision",
        "gpu-compiled",
        "torch-compiled",
        Part(
            "timm, compiled",
            "float32",
            _timm("gpu-compiled", r"^NVIDIA.*compile.*\|amp\|"),
            TIMM_GPU,
            folds=10,
        ),
    ),
    _on_gpu(
        "torch-eager-gpu",
        "PyTorch 2 on NVIDIA GPUs, automatic mixed precision",
        "gpu-eager",
        "torch-eager",
        Part(
            "timm, eager",
            "float32",
            _timm("gpu-eager", r"^NVIDIA.*(210|240|291) eager.*\|amp\|.*nchw"),
            TIMM_GPU,
            folds=10,
        ),
    ),
    Kind(
        "tflite-cpu",
        "TensorFlow Lite on CPUs, all cores",
        "tflite",
        ["tflite"],
        [
            Part(
                "MLPerf, float",
                "float32",
                lambda truth, archs, graphs: published.tflite(truth, graphs, int8=False),
                Prior(),
            ),
            Part(
                "MLPerf, int8",
                "int8",
                lambda truth, archs, graphs: published.tflite(truth, graphs, int8=True),
                Prior(table_spread=np.full(7, 0.3)),
            ),
        ],
        threads=lambda run: next((n for name, n in TFLITE_CORES.items() if name in run.device), 1),
    ),
    Kind(
        "tensorrt",
        "TensorRT on NVIDIA GPUs",
        "tensorrt",
        ["tensorrt"],
        [
            Part(
                "PaddleClas",
                "float32",
                lambda truth, archs, graphs: published.tensorrt(truth, archs, graphs, "tensorrt"),
                Prior(rates_spread=(1.0, 0.5, 1.0)),
            )
        ],
        threads=lambda run: 1,
    ),
    Kind(
        "npu",
        "neural processing units, int8",
        "npu",
        ["hailort", "edgetpu"],
        [
            Part(
                "Hailo's model zoo, coral.ai",
                "int8",
                lambda truth, archs, graphs: published.npu(truth, archs, graphs, "npu"),
                Prior(table_spread=np.full(7, 0.01), rates_spread=(1.0, 0.3, 0.3), factor_spread=0.01),
            )
        ],
        threads=lambda run: 1,
        too_few=True,
    ),
    Kind(
        "mcu",
        "int8 kernels on Cortex-M microcontrollers (CMSIS-NN, STM32Cube.AI and their like)",
        "mcu",
        ["x-cube-ai", "tflite-micro"],
        [
            Part(
                "MLPerf Tiny",
                "int8",
                lambda truth, archs, graphs: published.tiny(truth),
                Prior(
                    table=MCU,
                    table_spread=SPREAD * 0.3,
                    rates_spread=(1.0, 0.3, 0.3),
                    memory_work=0.25,
                    launch_work=1e3,
                ),
            )
        ],
        key=lambda run: run.label,
    ),
)


@dataclass(frozen=True)
class Result:
    """A part with its fit, and with what fits that saw no model of a family predict for that family."""

    part: Part
    table: Table
    models: Models
    fitted: Fitted
    held_out: Floats

    @property
    def log_errors(self) -> Floats:
        """log(measured / predicted), shape (runs, models); NaN where there is no figure."""
        return np.log(self.table.seconds / self.held_out)

    def rows(self) -> Iterator[tuple[Run, Floats]]:
        """Yield each run with its known errors as fractions, predicted over measured less one."""
        for run, errors in zip(self.table.runs, np.exp(-self.log_errors) - 1, strict=True):
            yield run, errors[np.isfinite(errors)]


def results(kind: Kind, truth: Path, archs: Path, graphs: Graphs, *, validate: bool = True) -> list[Result]:
    """Read, fit and, if asked to, cross-validate all parts of a kind; parts without any run are left out."""
    found: list[Result] = []
    for part in kind.parts:
        table = part.table(truth, archs, graphs)
        if not table.runs:
            continue
        models = Models.of(table.kernels)
        first = found[0] if found else None
        fitted = fit(models, table.seconds, _prior(part, table, first.fitted if first else None, first))
        predicted = np.full(table.seconds.shape, np.nan)
        if validate and first is None:
            predicted = held_out(models, table.seconds, table.families, part.prior, part.folds)
        elif validate and first is not None:
            predicted = _held_out_after(part, table, models, first)
        found.append(Result(part, table, models, fitted, predicted))
    return found


def _held_out_after(part: Part, table: Table, models: Models, first: Result) -> Floats:
    """Hold a family out of both the first part, which gives the class costs, and this one."""
    predicted = np.full(table.seconds.shape, np.nan)
    for family in sorted(set(table.families)):
        out = np.array([each == family for each in table.families])
        out_first = np.array([each == family for each in first.table.families])
        base = fit(first.models, without(first.table.seconds, out_first), first.part.prior)
        prior = _prior(part, table, base, first)
        predicted[:, out] = fit(models, without(table.seconds, out), prior).seconds(models)[:, out]
    return predicted


def _prior(part: Part, table: Table, base: Fitted | None, first: Result | None) -> Prior:
    if base is None or first is None:
        return part.prior
    prior = replace(part.prior, table=base.table, fit_table=not part.shares_costs)
    if not part.from_first:
        return prior
    return replace(prior, **_of_same_runs(table, base, first))


def _of_same_runs(table: Table, base: Fitted, first: Result) -> dict[str, Any]:
    """Return rates and factors of the runs of another table that were made with these; else the mean's."""
    where = {(run.device, run.label, run.threads): i for i, run in enumerate(first.table.runs)}
    by_device = {run.device: i for i, run in enumerate(first.table.runs)}
    rates = np.tile(base.rates.mean(axis=0), (len(table.runs), 1))
    factors = np.zeros((len(table.runs), len(CLASSES)))
    for i, run in enumerate(table.runs):
        at = where.get((run.device, run.label, run.threads), by_device.get(run.device))
        if at is not None:
            rates[i], factors[i] = base.rates[at], base.factors[at]
            rates[i, :2] += np.log(max(1, run.threads) / max(1, first.table.runs[at].threads)) * 0.7
    return {"rates": rates, "factors": factors}
