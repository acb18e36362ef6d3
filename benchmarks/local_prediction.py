"""Predicted against measured latency of a folder of graphs on this machine, beside counting MACs alone.

    pare profiles calibrate
    python benchmarks/local_prediction.py GRAPHS [--threads 1] [--max-gmacs 10] [--every 1] [--times FOLDER]

GRAPHS holds ONNX graphs, weightless ones as weighted.py describes them. Each is timed in onnxruntime like the
networks that a machine is calibrated on: the fastest tenth of its times, CPU time where one thread works.
FOLDER keeps the times, so that a second run measures only what is new.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from weighted import feeds, weighted

from onnx_pare.cost.count import count
from onnx_pare.cost.kernels import kernels
from onnx_pare.graph.load import load_model
from onnx_pare.graph.shapes import infer
from onnx_pare.hw_profiles.calibrate import COSTS, fastest_s
from onnx_pare.hw_profiles.local import local_profile_path
from onnx_pare.hw_profiles.prediction import predict
from onnx_pare.hw_profiles.profiles import find

MEASURE_S = 1.5


@dataclass(frozen=True)
class Row:
    graph: str
    family: str
    gmacs: float
    measured_ms: float
    predicted_ms: float
    unseen: tuple[str, ...]

    @property
    def error(self) -> float:
        return self.predicted_ms / self.measured_ms - 1


def rows(given: argparse.Namespace) -> Iterator[Row]:
    profile = find(str(given.profile))
    for path in sorted(given.graphs.rglob("*.onnx"))[:: given.every]:
        model = load_model(path)
        shapes = infer(model, {})
        cost = count(model, shapes)
        if cost.macs > given.max_gmacs * 1e9:
            continue
        found = predict(kernels(model, shapes, cost, COSTS), profile, threads=given.threads)
        ms = measured_ms(path, given.threads, given.times)
        yield Row(
            str(path.relative_to(given.graphs)),
            family(path.stem),
            cost.macs / 1e9,
            ms,
            found.latency_ms,
            found.unseen_ops,
        )


def measured_ms(path: Path, threads: int, times: Path | None) -> float:
    kept = None if times is None else times / f"{path.parent.name}__{path.name}.json"
    if kept is not None and kept.exists():
        return float(json.loads(kept.read_text())["p10"])
    with tempfile.TemporaryDirectory() as folder:
        import onnx

        file, model = Path(folder) / "model.onnx", weighted(path)
        onnx.save(model, file)
        ms = 1e3 * fastest_s(file, feeds(model), threads, MEASURE_S)
    if kept is not None:
        kept.write_text(json.dumps({"p10": ms}))
    return ms


def family(name: str) -> str:
    """Return the letters a name starts with: resnet of resnet50d."""
    found = re.match(r"(tf_)?([a-z]+)", name.lower())
    return found[2] if found else name


def report(errors: Any) -> str:
    size = np.abs(errors) * 100
    shares = " ".join(f"±{limit} % {100 * np.mean(size <= limit):.0f} %" for limit in (10, 20))
    middle, mean, bias = np.median(size), size.mean(), 100 * np.median(errors)
    return f"median {middle:5.1f} %  mean {mean:5.1f} %  {shares}  bias {bias:+.1f} %"


def spearman(a: Any, b: Any) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def show(found: Sequence[Row]) -> None:
    measured = np.array([row.measured_ms for row in found])
    predicted = np.array([row.predicted_ms for row in found])
    macs = np.array([row.gmacs for row in found])
    by_macs = macs * np.median(measured / macs)
    print(f"{len(found)} graphs, {measured.min():.2f} to {measured.max():.0f} ms")
    for name, values in (("predicted", predicted), ("MACs only", by_macs)):
        rank = spearman(values, measured)
        print(f"{name:<10} {report(values / measured - 1)}  rank correlation {rank:.3f}")
    families = defaultdict(list)
    for row in found:
        families[row.family].append(row.error)
    for name, errors in sorted(families.items(), key=lambda pair: -len(pair[1])):
        if len(errors) > 2:
            print(f"  {name:<18} {len(errors):4}  {report(np.array(errors))}")
    print("furthest off:")
    for row in sorted(found, key=lambda row: -abs(np.log1p(row.error)))[:15]:
        print(f"  {row.graph:<45} {row.measured_ms:8.2f} ms, predicted {row.predicted_ms:8.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("graphs", type=Path)
    parser.add_argument("--profile", type=Path, default=local_profile_path())
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-gmacs", type=float, default=np.inf)
    parser.add_argument("--times", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take each so-manyth graph only")
    given = parser.parse_args()
    if given.times is not None:
        given.times.mkdir(parents=True, exist_ok=True)
    show(list(rows(given)))


if __name__ == "__main__":
    main()
