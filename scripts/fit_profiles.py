"""Fit the profiles of hw_profiles/ to published latencies.

    python scripts/fit_profiles.py FOLDER [--write] [--only KIND]

FOLDER has `truth/` (tables of latencies) and `archs/` (the graphs they belong to); neither is part of the
project. Prints for each kind of runtime the errors of fits that saw no model of a family, on that family.
With --write, replaces hw_profiles/costs/KIND.yaml and the fits of the profiles that devices.yaml names;
titles, facts and sources of profiles stay as they are.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fitting import Fitted
from kinds import KINDS, Kind, Result, results
from published import Floats, Graphs

from onnx_pare.documents.section import validate
from onnx_pare.hw_profiles.predictor import CLASSES, INDEX, ClassCost
from onnx_pare.hw_profiles.rates import part_of_peak
from onnx_pare.hw_profiles.schema import Device

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ROOT / "hw_profiles"
Z80 = 1.2815515655446004
# how many models the spread of all runs of a kind weighs as, beside a run's own
SHARED_MODELS = 10
# how far devices differ in what they reach of their peak, and how many measured ones that weighs as
DEVICE_SPREAD, DEVICES = 0.5, 2
COLUMNS = ("compute", "memory", "weights", "launch", "inner", "outer", "rows")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", metavar="KIND", choices=[kind.costs for kind in KINDS])
    parser.add_argument("--cache", type=Path, help="file that keeps what was read of the graphs")
    options = parser.parse_args()
    graphs = Graphs(options.folder / "archs", options.cache)
    devices = yaml.safe_load((ROOT / "scripts" / "devices.yaml").read_text(encoding="utf-8"))
    for kind in KINDS:
        if options.only in (None, kind.costs):
            found = results(kind, options.folder / "truth", options.folder / "archs", graphs)
            graphs.save()
            for result in found:
                print_errors(kind, result)
            if options.write and found:
                found = [normalized(result) for result in found]
                write_costs(kind, found)
                write_profiles(kind, found, devices)
    return 0


def print_errors(kind: Kind, result: Result) -> None:
    each = [errors for _, errors in result.rows() if len(errors)]
    every = np.abs(np.concatenate(each))
    means = [float(np.abs(errors).mean()) for errors in each]
    print(
        f"{kind.costs:20} {result.part.name:28} {len(each):4} runs {len(result.table.names):4} models  "
        f"mean error: median over runs {np.median(means):6.1%}, mean {np.mean(means):6.1%}; "
        f"±10 % {(every <= 0.1).mean():4.0%}  ±20 % {(every <= 0.2).mean():4.0%}",
        flush=True,
    )


def normalized(result: Result) -> Result:
    """Scale class costs so that a pointwise convolution costs 1, and elementwise work 1 a byte."""
    table, rates = result.fitted.table.copy(), result.fitted.rates.copy()
    pointwise, elementwise = INDEX["pointwise"], INDEX["elementwise"]
    compute, memory = table[pointwise, 0], table[elementwise, 1]
    launch = table[pointwise, 3]
    table[:, 0] -= compute
    table[:, 1:3] -= memory
    table[:, 3] -= launch
    rates = rates - np.array([compute, memory, -launch])
    fitted = Fitted(table, rates, result.fitted.factors)
    return Result(result.part, result.table, result.models, fitted, result.held_out)


def seen_classes(result: Result) -> list[str]:
    known = np.isfinite(result.table.seconds).any(axis=0)
    return [CLASSES[i] for i in np.unique(result.models.work.op_class[known[result.models.owner]])]


def half_width(own: Floats, common: Floats) -> float:
    """Return what 80 % of absolute log errors stay below, a run's own beside those of all runs."""
    whole = np.quantile(common, 0.8)
    alone = np.quantile(own, 0.8) if len(own) else whole
    squares = len(own) * alone**2 + SHARED_MODELS * whole**2
    return float(np.sqrt(squares / (len(own) + SHARED_MODELS)))


def spread_of(result: Result, run: int) -> float:
    """Return the deviation of a normal distribution that holds as much as the run's held-out errors do."""
    errors = np.abs(result.log_errors)
    own = errors[run][np.isfinite(errors[run])]
    return half_width(own, errors[np.isfinite(errors)]) / Z80


def write_costs(kind: Kind, found: Sequence[Result]) -> None:
    classes = {}
    for result in found:
        if result.part.dtype not in classes:
            costs = result.fitted.class_costs(seen_classes(result))
            classes[result.part.dtype] = {name: _entry(cost) for name, cost in costs.items()}
    content: dict[str, Any] = {"title": kind.title, "fusion": kind.fusion, "classes": classes}
    if kind.all_cores:
        content["all_cores"] = True
    exponents = thread_exponents(found)
    if exponents:
        content["thread_exponent"] = exponents
    general = from_facts(kind, found)
    if general:
        content["from_facts"] = general
    path = PROFILES / "costs" / f"{kind.costs}.yaml"
    head = f"# Written by scripts/fit_profiles.py: {'; '.join(_measured(result) for result in found)}.\n"
    path.write_text(head + dump(content), encoding="utf-8")


def _entry(cost: ClassCost) -> dict[str, float]:
    return {column: digits(value) for column in COLUMNS if (value := getattr(cost, column)) > 1e-6}


def _measured(result: Result) -> str:
    return f"{result.part.name}: {len(result.table.runs)} runs, {len(result.table.names)} models"


def thread_exponents(found: Sequence[Result]) -> dict[str, float]:
    """Return how F and B grow with threads, from devices measured with several numbers of them."""
    points: dict[tuple[str, str], list[tuple[int, Floats]]] = {}
    for result in found:
        if result.part.dtype == "float32":
            for run, rates in zip(result.table.runs, result.fitted.rates, strict=True):
                points.setdefault((run.device, run.label.partition("/")[2]), []).append((run.threads, rates))
    slopes = []
    for each in points.values():
        threads = np.log([max(1, n) for n, _ in each])
        if np.ptp(threads) > 0:
            rates = np.array([rate[:2] for _, rate in each])
            slopes.append(np.polyfit(threads, rates, 1)[0])
    if not slopes:
        return {}
    compute, memory = np.clip(np.median(slopes, axis=0), 0, 1)
    return {"compute": digits(float(compute)), "memory": digits(float(memory))}


def facts_of(name: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load((PROFILES / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def computed_in(content: Mapping[str, Any], kind: Kind) -> str:
    """Return what a device computes models of a kind's data type in."""
    runtime = next((content["runtimes"][name] for name in kind.runtimes if name in content["runtimes"]), {})
    dtype = kind.parts[0].dtype
    inside: str = (runtime.get("computes_in") or kind.computes_in).get(dtype, dtype)
    return inside


def peaks_of(content: Mapping[str, Any], kind: Kind, threads: int) -> tuple[float, float] | None:
    """Return peak MACs and bytes per second of what threads use: the fastest cores, or the whole device."""
    facts = content["facts"]
    peak = facts.get("peak_gops", {}).get(computed_in(content, kind))
    on_chip = content["kind"] in ("mcu", "npu")
    if peak is None or not (on_chip or "memory_gb_per_s" in facts):
        return None
    known = validate(Device, content)
    share = part_of_peak(known.facts, threads) if known.kind == "cpu" else 1.0
    return peak * share / 2 * 1e9, facts.get("memory_gb_per_s", np.inf) * 1e9


def device_points(
    kind: Kind, result: Result, devices: Mapping[str, Any]
) -> list[tuple[str, int, tuple[float, float]]]:
    """Return profile, run and peaks of every run that belongs to a profile with facts."""
    points = []
    for runtime in kind.runtimes:
        for name, pattern in devices[runtime].items():
            for threads, run in chosen(kind, result, pattern).items():
                peaks = peaks_of(facts_of(name), kind, threads)
                if peaks is not None:
                    points.append((name, run, peaks))
    return points


def from_facts(kind: Kind, found: Sequence[Result]) -> dict[str, Any]:
    """Return what devices reach of their facts on average, by the data type that they compute in."""
    devices = yaml.safe_load((ROOT / "scripts" / "devices.yaml").read_text(encoding="utf-8"))
    points = device_points(kind, found[0], devices)
    inside = {name: computed_in(facts_of(name), kind) for name, *_ in points}
    return {
        dtype: _reached(kind, found[0], [point for point in points if inside[point[0]] == dtype])
        for dtype in sorted(set(inside.values()))
    }


def _reached(
    kind: Kind, result: Result, points: Sequence[tuple[str, int, tuple[float, float]]]
) -> dict[str, float]:
    rates = np.array([result.fitted.rates[run] for _, run, _ in points])
    peaks = np.log(np.array([peak for *_, peak in points]))
    reached, of_bandwidth = (rates[:, :2] - peaks).T
    per_mac, launch = rates[:, 1] - rates[:, 0], rates[:, 2] + rates[:, 0]
    own = result.log_errors[[run for _, run, _ in points]]
    model_spread = float(np.nanquantile(np.abs(own), 0.8)) / Z80
    entry = {"peak_share": min(1.0, float(np.exp(np.median(reached))))}
    bounded = np.isfinite(of_bandwidth).all() and np.median(of_bandwidth) <= 0
    if bounded and of_bandwidth.std() < per_mac.std():
        entry["memory_share"] = min(1.0, float(np.exp(np.median(of_bandwidth))))
    else:
        entry["bytes_per_mac"] = float(np.exp(np.median(per_mac)))
    entry["macs_per_launch"] = float(np.exp(np.median(launch))) * kind.batch
    known = len(points)
    own_spread = float(np.std(reached)) if known > 1 else 0.0
    shared = (known * own_spread**2 + DEVICES * DEVICE_SPREAD**2) / (known + DEVICES)
    entry["spread"] = float(np.hypot(model_spread, np.sqrt(shared)))
    return {key: digits(value) for key, value in entry.items()}


def chosen(kind: Kind, result: Result, pattern: str) -> dict[int, int]:
    """Return for each number of threads the run that stands for a device.

    It is that of the most models; of several that on the fast cores only (ncnn's powersave 2); of several the
    last.
    """
    best: dict[int, tuple[int, bool, int]] = {}
    models = np.isfinite(result.table.seconds).sum(axis=1)
    for index, run in enumerate(result.table.runs):
        if re.search(pattern, kind.key(run)):
            threads = kind.threads(run)
            rank = (int(models[index]), run.label.endswith("powersave 2"), index)
            best[threads] = max(rank, best.get(threads, rank))
    return {threads: rank[-1] for threads, rank in best.items()}


def write_profiles(kind: Kind, found: Sequence[Result], devices: Mapping[str, Any]) -> None:
    """Replace the fits of this kind in all profiles; those of devices without measurements become none."""
    for path in sorted(PROFILES.glob("*.yaml")):
        for runtime, entry in facts_of(path.stem)["runtimes"].items():
            if entry["costs"] == kind.costs and entry["fits"]:
                write_runtime(path.stem, runtime, {**entry, "fits": []})
    for runtime in () if kind.too_few else kind.runtimes:
        for name, pattern in devices[runtime].items():
            write_fits(kind, found, runtime, name, pattern)


def write_runtime(name: str, runtime: str, entry: Mapping[str, Any]) -> None:
    """Replace one runtime in a profile; the one of least held-out error comes first: it is the default."""
    path = PROFILES / f"{name}.yaml"
    head, _, _ = path.read_text(encoding="utf-8").partition("runtimes:\n")
    runtimes = facts_of(name)["runtimes"] | {runtime: dict(entry)}
    runtimes = dict(sorted(runtimes.items(), key=lambda item: least_error(item[1])))
    path.write_text(head + dump({"runtimes": runtimes}), encoding="utf-8")


def least_error(runtime: Mapping[str, Any]) -> float:
    return min((fit["validation"]["error_percent"] for fit in runtime.get("fits") or ()), default=np.inf)


def write_fits(kind: Kind, found: Sequence[Result], runtime: str, name: str, pattern: str) -> None:
    """Replace the fits of one runtime in a profile."""
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        print(f"no profile {name}", file=sys.stderr)
        return
    fits: dict[tuple[str, int], dict[str, Any]] = {}
    for result in found:
        for threads, index in chosen(kind, result, pattern).items():
            fits.setdefault((result.part.dtype, threads), one_fit(kind, result, index, threads))
    runtimes = facts_of(name)["runtimes"]
    if not fits:
        if runtimes.get(runtime, {}).get("costs") == kind.costs:
            print(f"{name}: nothing matches '{pattern}'", file=sys.stderr)
        return
    entry: dict[str, Any] = {"costs": kind.costs}
    inside = runtimes.get(runtime, {}).get("computes_in") or dict(kind.computes_in)
    if inside:
        entry["computes_in"] = inside
    entry["fits"] = [fits[key] for key in sorted(fits)]
    write_runtime(name, runtime, entry)


def one_fit(kind: Kind, result: Result, index: int, threads: int) -> dict[str, Any]:
    rates = result.fitted.run(index, seen_classes(result))
    errors = np.exp(-result.log_errors[index]) - 1
    errors = np.abs(errors[np.isfinite(errors)]) * 100
    entry: dict[str, Any] = {
        "dtype": result.part.dtype,
        "threads": threads,
        "gmacs_per_s": digits(rates.work_per_s / 1e9),
        "gb_per_s": digits(rates.bytes_per_s / 1e9),
        "overhead_us": digits(rates.overhead_s * kind.batch * 1e6),
        "factors": {n: digits(f) for n, f in rates.factors.items() if abs(f - 1) >= 0.005},
        "spread": digits(spread_of(result, index)),
        "measured_models": len(errors),
        "validation": {
            "error_percent": round(float(errors.mean()), 1),
            "median_percent": round(float(np.median(errors)), 1),
            "within_20_percent": round(float((errors <= 20).mean()) * 100, 1),
            "models": len(errors),
            "held_out": "model families",
        },
    }
    if kind.batch > 1:
        entry["batch"] = [kind.batch // 4, kind.batch * 4]
    return entry


def digits(value: float) -> float:
    """Round to four significant digits."""
    return float(f"{value:.4g}")


class _Dumper(yaml.SafeDumper):
    """Numbers and classes in one line, where they fit."""


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.MappingNode:
    flat = all(not isinstance(each, dict | list) or each == [] for each in value.values()) and len(value) > 1
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=flat)


_Dumper.add_representer(dict, _mapping)


def dump(content: Mapping[str, Any]) -> str:
    text: str = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


if __name__ == "__main__":
    sys.exit(main())
