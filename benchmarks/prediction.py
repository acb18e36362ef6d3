"""How well latencies are predicted that no fit has seen, table by table, beside simpler models.

    python benchmarks/prediction.py FOLDER [--only KIND]

FOLDER has `truth/` and `archs/` as scripts/fit_profiles.py reads them. Everything is held out by model family
(MLPerf Tiny: by model); baselines are fitted to each run, on the same families:

- spec sheet: the larger of MACs over peak and bytes over bandwidth, for runs on devices with facts;
- MACs only: one speed for each run;
- four terms: non-negative least squares of relative errors over MACs, bytes of activations, bytes of weights
  and the number of kernels.

Printed are the mean absolute percentage error (median over runs, and over all), the median error, the share
within ±10 and ±20 %, Spearman's rank correlation (median over runs), and how many latencies lie within the
80 % interval, whose width comes from other families. Then: devices known by their facts alone and after one
measurement, and whether int8 is rightly called faster or slower.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import nnls
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from fit_profiles import chosen, computed_in, device_points, facts_of, half_width  # noqa: E402
from fitting import Fitted, fit  # noqa: E402
from kinds import KINDS, Kind, Result, results  # noqa: E402
from published import Floats, Graphs, Table  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", metavar="KIND", choices=[kind.costs for kind in KINDS])
    parser.add_argument("--cache", type=Path, help="file that keeps what was read of the graphs")
    options = parser.parse_args()
    graphs = Graphs(options.folder / "archs", options.cache)
    devices = yaml.safe_load((ROOT / "scripts" / "devices.yaml").read_text(encoding="utf-8"))
    columns = ("runs", "median", "mean", "med.err", "±10 %", "±20 %", "rank")
    print(f"{'table':34} {'model':12} {' '.join(f'{column:>7}' for column in columns)}")
    for kind in KINDS:
        if options.only in (None, kind.costs):
            found = results(kind, options.folder / "truth", options.folder / "archs", graphs)
            graphs.save()
            for result in found:
                compare(kind, result, devices)
            if kind.costs == "ncnn-cpu":
                call_int8(found)
                facts_alone(kind, found[0], devices)
    return 0


def compare(kind: Kind, result: Result, devices: Mapping[str, Any]) -> None:
    """Print one table: each run of timm by itself, since each is a file of its own."""
    table, name = result.table, f"{kind.costs}: {result.part.name}"
    for model, predicted in (
        ("onnx-pare", result.held_out),
        ("four terms", four_terms(table)),
        ("MACs only", macs_only(table)),
        ("spec sheet", spec_sheet(kind, result, devices)),
    ):
        if np.isfinite(predicted).any():
            print_line(name, model, table.seconds, predicted)
    covered = coverage(result)
    print(f"{name:34} 80 % interval holds {covered:.1%}; classes never seen: {flagged(result)}")
    if result.part.folds:
        for run, measured, guess in zip(table.runs, table.seconds, result.held_out, strict=True):
            print_line(
                f"  {run.device[-16:]} {run.label[-28:]}"[:44], "onnx-pare", measured[None], guess[None]
            )


def print_line(name: str, model: str, measured: Floats, predicted: Floats) -> None:
    errors = np.abs(predicted / measured - 1)
    rows = np.isfinite(errors).any(axis=1)
    errors, known = errors[rows], np.isfinite(errors[rows])
    each = np.nanmean(errors, axis=1)
    ranks = [
        spearmanr(m[k], p[k]).statistic
        for m, p, k in zip(measured[rows], predicted[rows], known, strict=True)
    ]
    every = errors[known]
    print(
        f"{name:34} {model:12} {len(errors):7} {np.median(each):7.1%} {every.mean():7.1%} "
        f"{np.median(every):7.1%} {(every <= 0.1).mean():7.0%} {(every <= 0.2).mean():7.0%} "
        f"{np.nanmedian(ranks):7.2f}",
        flush=True,
    )


def features(table: Table) -> Floats:
    """Return MACs, bytes of activations, bytes of weights and kernels of each model, shape (models, 4)."""
    return np.array(
        [
            [
                sum(float(k.macs or 0) for k in kernels),
                sum(float(k.read_bytes + k.written_bytes) for k in kernels),
                sum(float(k.weight_bytes) for k in kernels),
                float(len(kernels)),
            ]
            for kernels in table.kernels
        ]
    )


def splits(table: Table) -> Iterator[tuple[int, Any, Any]]:
    """Yield for every run and family which models are fitted and which are predicted."""
    families = np.array(table.families)
    for run, seconds in enumerate(table.seconds):
        known = np.isfinite(seconds)
        for family in sorted(set(table.families)):
            yield run, known & (families != family), known & (families == family)


def macs_only(table: Table) -> Floats:
    macs, predicted = features(table)[:, 0], np.full(table.seconds.shape, np.nan)
    for run, inside, out in splits(table):
        predicted[run, out] = macs[out] * np.median(table.seconds[run, inside] / macs[inside])
    return predicted


def four_terms(table: Table) -> Floats:
    terms, predicted = features(table), np.full(table.seconds.shape, np.nan)
    terms = terms / terms.mean(axis=0)
    for run, inside, out in splits(table):
        weights, _ = nnls(terms[inside] / table.seconds[run, inside, None], np.ones(inside.sum()))
        predicted[run, out] = terms[out] @ weights
    return predicted


def spec_sheet(kind: Kind, result: Result, devices: Mapping[str, Any]) -> Floats:
    table, predicted = result.table, np.full(result.table.seconds.shape, np.nan)
    terms = features(table)
    for _, run, (work, moved) in device_points(kind, result, devices):
        threads = table.runs[run].threads or 1
        memory = (terms[:, 1] + terms[:, 2]) / moved
        guess = np.maximum(terms[:, 0] / (work * threads), memory)
        predicted[run] = np.where(np.isfinite(table.seconds[run]), guess, np.nan)
    return predicted


def coverage(result: Result) -> float:
    """Return how many latencies lie in their intervals, the width taken from the errors of other families."""
    errors, families = np.abs(result.log_errors), np.array(result.table.families)
    inside = []
    for family in sorted(set(result.table.families)):
        rest, own = errors[:, families != family], errors[:, families == family]
        common = rest[np.isfinite(rest)]
        for row, mine in zip(rest, own, strict=True):
            width = half_width(row[np.isfinite(row)], common)
            inside += list(mine[np.isfinite(mine)] <= width)
    return float(np.mean(inside))


def flagged(result: Result) -> str:
    """Return which classes of operators each family has that no other family has: all of them are flagged."""
    families = np.array(result.table.families)[result.models.owner]
    from onnx_pare.hw_profiles.predictor import CLASSES

    lines = []
    for family in sorted(set(result.table.families)):
        own = set(result.models.work.op_class[families == family])
        new = own - set(result.models.work.op_class[families != family])
        if new:
            lines.append(f"{family} {', '.join(sorted(CLASSES[i] for i in new))}")
    return "; ".join(lines) or "none"


def call_int8(found: list[Result]) -> None:
    """Compare predicted with published signs of the gain of int8, of pairs measured in one run."""
    by_type = {result.part.dtype: result for result in found if result.part.name != "several threads"}
    floats = {
        (run.device, run.label, run.threads, name): (seconds, guess)
        for result in found
        if result.part.dtype == "float32"
        for run, row, guesses in zip(result.table.runs, result.table.seconds, result.held_out, strict=True)
        for name, seconds, guess in zip(result.table.names, row, guesses, strict=True)
        if np.isfinite(seconds)
    }
    result = by_type["int8"]
    right, faster, total = 0, 0, 0
    for run, row, guesses in zip(result.table.runs, result.table.seconds, result.held_out, strict=True):
        for name, seconds, guess in zip(result.table.names, row, guesses, strict=True):
            pair = floats.get((run.device, run.label, run.threads, name.removesuffix("_int8")))
            if pair is not None and np.isfinite(seconds):
                right += (guess < pair[1]) == (seconds < pair[0])
                faster += bool(seconds < pair[0])
                total += 1
    always = f"always faster: {faster / total:.1%}"
    print(f"ncnn, int8 faster or slower: {right / total:.1%} of {total} pairs right ({always})")


def expected_rates(rates: Floats, others: list[tuple[int, Any]], peaks: Any) -> Floats:
    """Return the logarithms of F, B and o by what other devices reach of their peaks."""
    known = rates[[run for run, _ in others]]
    reached = known[:, 0] - np.log([peak for _, (peak, _) in others])
    work = np.median(reached) + np.log(peaks[0])
    memory = work + np.median(known[:, 1] - known[:, 0])
    launch = np.median(known[:, 2] + known[:, 0]) - work
    return np.array([work, memory, launch])


def facts_alone(kind: Kind, result: Result, devices: Mapping[str, Any]) -> None:
    """Predict each device by its facts and what others reach of theirs; then with one model measured."""
    points = device_points(kind, result, devices)
    alone: list[tuple[str, float]] = []
    one: list[dict[str, float]] = []
    for name, _, peaks in points:
        pattern = next(devices[r][name] for r in kind.runtimes if name in devices[r])
        own = list(chosen(kind, result, pattern).values())
        same = {result.table.runs[i].device for i in own}
        rest = [i for i, run in enumerate(result.table.runs) if run.device not in same]
        base = fit(result.models, result.table.seconds[rest], result.part.prior)
        inside = computed_in(facts_of(name), kind)
        others = [
            (rest.index(i), p)
            for n, i, p in points
            if n != name and i in rest and computed_in(facts_of(n), kind) == inside
        ]
        rates = expected_rates(base.rates, others, peaks)
        measured = result.table.seconds[own[0]]
        known = np.flatnonzero(np.isfinite(measured))
        expected = Fitted(base.table, rates[None], np.zeros_like(base.factors[:1]))
        guess = expected.seconds(result.models)[0]
        alone.append((name, float(np.mean(np.abs(guess[known] / measured[known] - 1)))))
        after = {}
        for model in known:
            # as `pare profiles fit` does with one model: all rates move together
            refined = guess * measured[model] / guess[model]
            rest_of = known[known != model]
            after[result.table.names[model]] = float(
                np.mean(np.abs(refined[rest_of] / measured[rest_of] - 1))
            )
        one.append(after)
    errors = [error for _, error in alone]
    middle = f"median over {len(errors)} devices {np.median(errors):.1%}"
    print(f"ncnn, facts alone: mean {np.mean(errors):.1%}, {middle}")
    print("   " + ", ".join(f"{name} {error:.0%}" for name, error in alone))
    every = [error for after in one for error in after.values()]
    print(f"ncnn, one model measured: mean {np.mean(every):.1%}, median {np.median(every):.1%}; by model:")
    for name in result.table.names:
        errors = [after[name] for after in one if name in after]
        if errors:
            print(
                f"   {name:20} {len(errors):2} devices: {np.mean(errors):.1%}, median {np.median(errors):.1%}"
            )


if __name__ == "__main__":
    sys.exit(main())
