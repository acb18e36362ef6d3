"""A batch over a zoo: throughput of two workers against one, overhead per model, memory of the parent.

    python benchmarks/zoo.py [--models 300] [--many 3000] [--recipe FILE] [--zoo FOLDER]

Throughput: the same zoo with `--jobs 1` and `--jobs 2`. Overhead: wall time of the batch with one worker,
less its start and less the time that the models' reports give for the work itself, per model. Memory: the
largest resident set of the parent process over batches of 30 and of `--many` models, and when they are
resumed, which reads the journal again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import zoo_models

# quick, so that what a batch adds is seen: nothing is measured but the latency of the result
RECIPE = """version: 1
calibration: {samples: 4}
passes:
  - quantize_int8: {round: nearest, equalize: false, select: all, min_sqnr_db: null}
benchmark: {profiles: [local], runs: 5}
"""
TINY = """version: 1
calibration: {samples: 1}
passes: [{quantize_fp16: {storage_only: true, min_elements: 1}}]
benchmark: {profiles: []}
"""
OPTIMIZE = [sys.executable, "-c", "from onnx_pare.cli.main import optimize; optimize()"]
WATCH_S = 0.05


@dataclass(frozen=True)
class Ran:
    """One batch: seconds, the exit code, and the most memory its parent process held, in bytes."""

    seconds: float
    code: int
    parent_bytes: int


def run(zoo: Path, recipe: Path, out: Path, jobs: int) -> Ran:
    """Run a batch as a user would."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*OPTIMIZE, str(zoo), "-c", str(recipe), "-o", str(out), "--jobs", str(jobs), "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    most = 0
    while process.poll() is None:
        most = max(most, _peak_bytes(process.pid))
        time.sleep(WATCH_S)
    return Ran(time.perf_counter() - start, process.returncode, most)


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0]) * 1024 if peaks else 0


def throughput(zoo: Path, recipe: Path, folder: Path) -> None:
    """Print how much faster two workers are than one, and what a model costs beyond its work."""
    ran = {jobs: run(zoo, recipe, folder / f"out{jobs}", jobs) for jobs in (1, 2)}
    records = [_records(folder / f"out{jobs}") for jobs in ran]
    count = len(records[0])
    for jobs, one in ran.items():
        print(f"--jobs {jobs}: {count} models in {one.seconds:.1f} s, exit code {one.code}")
    print(f"throughput of 2 workers over 1: {ran[1].seconds / ran[2].seconds:.2f}×")
    hashes = [{r["model"]: r["output"] and r["output"]["sha256"] for r in found} for found in records]
    differing = sum(hashes[0][model] != hashes[1][model] for model in hashes[0])
    print(f"outputs that differ between the two: {differing}")
    statuses = [(record["status"], record["kind"]) for record in records[0]]
    print(
        "status:",
        {" ".join(filter(None, one)): statuses.count(one) for one in sorted(set(statuses), key=str)},
    )
    done = [r for r in records[0] if r["report"]]
    in_child_s = sum(record["seconds"] for record in records[0])
    failed_s = sum(record["seconds"] for record in records[0] if not record["report"])
    work_s = sum(json.loads((folder / "out1" / r["report"]).read_bytes())["seconds"] for r in done)
    start_s = _start_s(recipe, folder)
    overhead_s = (ran[1].seconds - start_s - work_s - failed_s) / count
    print(
        f"start of a batch {start_s:.2f} s; work {work_s:.1f} s in the reports,"
        f" {in_child_s:.1f} s in the workers; overhead {overhead_s * 1e3:.0f} ms per model"
    )


def _start_s(recipe: Path, folder: Path) -> float:
    """Return how long a batch of one broken model takes."""
    (folder / "broken").mkdir()
    (folder / "broken" / "x.onnx").write_bytes(b"no model")
    return run(folder / "broken", recipe, folder / "out_broken", 1).seconds


def memory(many: int, folder: Path) -> None:
    """Print the parent's memory for few and for many models, and when the journal is read again."""
    recipe = folder / "tiny.yaml"
    recipe.write_text(TINY, encoding="utf-8")
    for count in (30, many):
        zoo = folder / f"tiny{count}"
        for number in range(count):
            zoo_models.small(zoo / f"{number // 100}" / f"{number:05}.onnx", 4 + number % 5, 1, number)
        for what in ("", ", resumed"):
            ran = run(zoo, recipe, folder / f"out_tiny{count}", 2)
            size = (folder / f"out_tiny{count}" / "journal.jsonl").stat().st_size
            print(
                f"{count} models{what}: parent {ran.parent_bytes / 1e6:.1f} MB, {ran.seconds:.1f} s,"
                f" journal {size / count:.0f} bytes per model, exit code {ran.code}"
            )


def _records(out: Path) -> list[dict]:  # type: ignore[type-arg]
    lines = (out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--many", type=int, default=3000)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--zoo", type=Path, help="a zoo made earlier, instead of a new one")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = given.recipe or folder / "recipe.yaml"
        if given.recipe is None:
            recipe.write_text(RECIPE, encoding="utf-8")
        if given.models:
            if given.zoo is None:
                zoo_models.make(folder / "zoo", given.models)
            throughput(given.zoo or folder / "zoo", recipe, folder)
        if given.many:
            memory(given.many, folder)


if __name__ == "__main__":
    main()
