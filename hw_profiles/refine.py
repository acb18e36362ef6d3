"""Refines a profile by measurements of one's own: a table of models and their latencies on the device."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.errors import ProfileError
from onnx_pare.hw_profiles.dtypes import computing
from onnx_pare.hw_profiles.rates import GIGA, MICRO, Basis, basis
from onnx_pare.hw_profiles.rates_fit import Measured, fit_rates, left_out
from onnx_pare.hw_profiles.schema import Device, Dtype, Fit, Validation

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel
    from onnx_pare.hw_profiles.profiles import Profile

COLUMNS = ("model", "latency_ms", "threads", "batch")
NEEDED = COLUMNS[:2]
# log error to expect of a device once a model was measured, and how many models it weighs as: what
# benchmarks/prediction.py finds
USUAL_SPREAD, USUAL_MODELS = 0.2, 3
EXAMPLE = "model,latency_ms,threads\n    resnet18.onnx,41.3,1"


@dataclass(frozen=True)
class Measurement:
    """One line of a table: a model, and how long it took.

    Attributes:
        model: Path of the ONNX file.
        latency_ms: Of one run.
        threads: It ran with.
        batch: Of the run; None for the model's own.
        where: File and line.
    """

    model: Path
    latency_ms: float
    threads: int
    batch: int | None
    where: str


def read_measurements(path: Path) -> list[Measurement]:
    """Read a CSV file with the columns `model`, `latency_ms` and, if needed, `threads` and `batch`.

    Paths of models are relative to the file.

    Raises:
        ProfileError: It cannot be read, a column is unknown or missing, or a value is no positive number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or ())
            rows = [_row(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise ProfileError(f"{path}: no measurements", hint=f"For example:\n    {EXAMPLE}")
    return rows


def _check_header(path: Path, header: Sequence[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in NEEDED if name not in header]
    if unknown or missing:
        said = f"unknown column '{unknown[0]}'" if unknown else f"no column '{missing[0]}'"
        raise ProfileError(
            f"{path}:1: {said}; the columns are {', '.join(COLUMNS)}", hint=f"For example:\n    {EXAMPLE}"
        )


def _row(path: Path, line: int, row: Mapping[str, str | None]) -> Measurement:
    where = f"{path}:{line}"
    model = (row["model"] or "").strip()
    if not model:
        raise ProfileError(f"{where}: no model")
    batch = row.get("batch")
    return Measurement(
        path.parent / model,
        _positive(where, "latency_ms", row["latency_ms"]),
        int(_positive(where, "threads", row.get("threads") or "1", whole=True)),
        int(_positive(where, "batch", batch, whole=True)) if batch else None,
        where,
    )


def _positive(where: str, name: str, text: str | None, *, whole: bool = False) -> float:
    try:
        value = int(text or "") if whole else float(text or "")
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        kind = "a positive whole number" if whole else "a positive number"
        raise ProfileError(f"{where}: {name} must be {kind}, not '{text or ''}'")
    return value


@dataclass(frozen=True)
class Timed:
    """A model as kernels, and how long it took.

    Attributes:
        name: What it is called.
        kernels: By the fusion rules of the profile's runtime.
        latency_ms: Of one run.
        threads: It ran with.
        batch: Samples of a run.
    """

    name: str
    kernels: Sequence[Kernel]
    latency_ms: float
    threads: int
    batch: int = 1

    @property
    def dtype(self) -> str:
        """What most of its MACs are computed in."""
        amounts: dict[str, int] = {}
        for kernel in self.kernels:
            amounts[computing(kernel)] = amounts.get(computing(kernel), 0) + (kernel.macs or 0)
        return max(amounts, key=lambda dtype: amounts[dtype])


def refined(profile: Profile, timed: Sequence[Timed]) -> Device:
    """Return the profile's device with the fits of its runtime replaced for the types and threads measured.

    Each fit starts from what the profile knows already, fits or facts. One model moves all rates together;
    the more there are, the more classes of operators get factors of their own. With two or more models each
    is predicted by a fit to the others: the error that the profile then states.

    Raises:
        ProfileError: Neither fits nor facts say anything about the device's speed.
    """
    made: dict[tuple[str, int], Fit] = {(fit.dtype, fit.threads): fit for fit in profile.on.fits}
    for dtype, threads in sorted({(one.dtype, one.threads) for one in timed}):
        own = [one for one in timed if (one.dtype, one.threads) == (dtype, threads)]
        made[dtype, threads] = _fit(basis(profile, dtype, threads), own, dtype, threads)
    runtime = profile.on.model_copy(update={"fits": tuple(made[key] for key in sorted(made))})
    runtimes = {**profile.known.runtimes, profile.runtime: runtime}
    # what is refined is the default from now on
    runtimes = {profile.runtime: runtime} | runtimes
    return profile.known.model_copy(update={"runtimes": runtimes})


def _fit(known: Basis, own: Sequence[Timed], dtype: str, threads: int) -> Fit:
    costs = {
        name: replace(cost, compute=cost.compute * f, memory=cost.memory * f, weights=cost.weights * f)
        for name, cost in known.costs.items()
        for f in [known.rates.factors.get(name, 1.0)]
    }
    start = replace(known.rates, factors={})
    measured = [Measured(one.name, one.kernels, one.latency_ms / 1e3) for one in own]
    rates = fit_rates(measured, costs, start)
    errors = left_out(measured, measured, costs, start) if len(measured) > 1 else []
    return Fit(
        dtype=_known_dtype(dtype),
        threads=threads,
        gmacs_per_s=_rounded(rates.work_per_s / GIGA),
        gb_per_s=_rounded(rates.bytes_per_s / GIGA),
        overhead_us=_rounded(rates.overhead_s / MICRO),
        factors=_factors(known.rates.factors, rates.factors),
        spread=_rounded(_spread(errors)),
        batch=(min(one.batch for one in own), max(one.batch for one in own)),
        measured_models=len(own),
        validation=_validation(errors),
    )


def _known_dtype(dtype: str) -> Dtype:
    from typing import get_args

    for name in get_args(Dtype):
        if name == dtype:
            known: Dtype = name
            return known
    raise ProfileError(f"models that compute in {dtype} cannot be fitted; only {', '.join(get_args(Dtype))}")


def _factors(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    names = dict.fromkeys((*before, *after))
    return {name: _rounded(before.get(name, 1.0) * after.get(name, 1.0)) for name in names}


def _spread(errors: Sequence[float]) -> float:
    squares = sum(log(1 + error) ** 2 for error in errors) + USUAL_MODELS * USUAL_SPREAD**2
    return sqrt(squares / (len(errors) + USUAL_MODELS))


def _validation(errors: Sequence[float]) -> Validation | None:
    if not errors:
        return None
    import numpy as np

    sizes = np.abs(errors) * 100
    return Validation(
        error_percent=round(float(sizes.mean()), 1),
        median_percent=round(float(np.median(sizes)), 1),
        within_20_percent=round(float((sizes <= 20).mean()) * 100, 1),
        models=len(errors),
        held_out="models, one at a time",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
