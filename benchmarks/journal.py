"""What the journal of a large zoo weighs: bytes on disk, time and memory to open it, time per line added.

python benchmarks/journal.py [--models 100000] [--added 1000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from onnx_pare.zoo.journal import NAME, Journal, Output, Record
from onnx_pare.zoo.task import Limits, Status


def record(number: int, version: int = 0) -> Record:
    """Return a line as batches write it, of a model at a URL."""
    name = f"{number % 100:02}/{number:06}_some_network.onnx"
    return Record(
        model=name,
        status=Status.OK,
        key=f"{number:064x}",
        origin=f"{version:064x}",
        report=f"{name}.report.json",
        output=Output(path=name, sha256=f"{number:064x}", size_bytes=12_345_678),
        size_ratio=0.25432123456789,
        speedup={"local": 2.01234567890123},
        limits=Limits(3600.0, 11_374_425_907),
        seconds=31.078,
        peak_rss_bytes=185_872_384,
        worker="node-0123/tcp://10.0.12.34:40123",
        finished="2026-11-24T20:11:40+00:00",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / NAME
        with path.open("w", encoding="utf-8") as file:
            for number in range(given.models):
                file.write(record(number).model_dump_json() + "\n")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        with Journal(Path(name)) as journal:
            opened_s = time.perf_counter() - start
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            size = path.stat().st_size
            start = time.perf_counter()
            for number in range(given.added):
                journal.append(record(number, 1))
            added_s = time.perf_counter() - start
    print(
        f"{given.models} models: {size / 1e6:.1f} MB, {size / given.models:.0f} bytes each;"
        f" opened in {opened_s:.2f} s with {grown / 1e3:.1f} MB more memory;"
        f" {1e3 * added_s / given.added:.2f} ms per line added"
    )


if __name__ == "__main__":
    main()
