"""Kill workers of a Dask cluster, and whoever runs the batch, at random moments; see that nothing is lost.

    python benchmarks/chaos_cluster.py [--kills 30] [--models 24] [--workers 3] [--seed 0]

A scheduler and workers run as separate processes. The same batch as in chaos.py runs on them again and
again, until `--kills` processes were killed by SIGKILL: worker processes, whole workers with the nanny that
would start them again (another one is started in their place), and every fourth time the batch itself, which
is then run again on the same cluster. Every batch must end with the outputs of an undisturbed run on this
machine, one line of the journal per model, and no model given up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import chaos

from onnx_pare.processes import family, kill_family

START_S = 60.0


@dataclass
class Cluster:
    """A scheduler and workers, each a process of its own, the workers with a nanny.

    Attributes:
        folder: Where they keep their files.
        nannies: The processes that start the workers.
    """

    folder: Path
    scheduler: subprocess.Popen[bytes]
    nannies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return str(json.loads((self.folder / "scheduler.json").read_text())["address"])

    def add_worker(self) -> None:
        """Start a worker of one thread."""
        options = ["--nthreads", "1", "--memory-limit", "0", "--local-directory", str(self.folder)]
        self.nannies.append(_start("dask_worker", self.folder, *options))

    def kill(self, rng: random.Random, whole: bool) -> bool:
        """Kill a random worker process, or it with its nanny and let another take its place."""
        nanny = rng.choice(self.nannies)
        if whole:
            kill_family(nanny.pid)
            nanny.wait()
            self.nannies.remove(nanny)
            self.add_worker()
            return True
        workers = list(family(nanny.pid))[1:]
        for pid in workers:
            chaos.kill(pid)
        return bool(workers)


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """Run a cluster; none of its processes is left afterwards."""
    folder.mkdir()
    made = Cluster(folder, _start("dask_scheduler", folder, "--host", "127.0.0.1", "--port", "0"))
    try:
        deadline = time.monotonic() + START_S
        while not (folder / "scheduler.json").exists():
            if time.monotonic() > deadline:
                sys.exit("the scheduler does not start")
            time.sleep(0.1)
        for _ in range(workers):
            made.add_worker()
        yield made
    finally:
        for process in (*made.nannies, made.scheduler):
            kill_family(process.pid)
            process.wait()


def _start(module: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *options]
    return subprocess.Popen(
        [*command, "--scheduler-file", str(folder / "scheduler.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
    )


@dataclass
class Killed:
    """How many were killed so far, and of what kind."""

    workers: int = 0
    nannies: int = 0
    batches: int = 0

    @property
    def all(self) -> int:
        """All of them."""
        return self.workers + self.nannies + self.batches


def disturbed(
    batch: chaos.Batch, out: Path, on: Cluster, rng: random.Random, pause_s: float, killed: Killed, limit: int
) -> tuple[int, str]:
    """Run a batch to its end, while what it needs is killed; return the exit code and what it said."""
    process = batch.start(out)
    while True:
        try:
            said = process.communicate(timeout=rng.uniform(0.5, 2 * pause_s))[1]
        except subprocess.TimeoutExpired:
            if killed.all >= limit:
                continue
            if killed.all % 4 == 3:
                chaos.kill(process.pid)
                process.communicate()
                process = batch.start(out)
                killed.batches += 1
            elif killed.all % 4 == 1:
                killed.nannies += on.kill(rng, whole=True)
            else:
                killed.workers += on.kill(rng, whole=False)
        else:
            return process.returncode, said


def given_up(out: Path) -> Iterator[str]:
    """Yield models that were recorded as failed though only their workers were killed."""
    for line in chaos.recorded(out):
        if line["kind"] == "killed":
            yield f"{line['model']} was given up: {line['reason']}"


def run(here: chaos.Batch, folder: Path, count: int, workers: int, seed: int) -> bool:
    """Kill `count` processes; return whether all went well."""
    code, _ = here.run(folder / "undisturbed")
    expected, models = chaos.hashes(folder / "undisturbed"), len(chaos.recorded(folder / "undisturbed"))
    print(f"undisturbed on this machine: exit code {code}, {models} models, {len(expected)} outputs")
    rng, killed, good, number = random.Random(seed), Killed(), True, 0
    with cluster(folder / "cluster", workers) as on:
        there = chaos.Batch(here.zoo, here.recipe, here.tmp, ("--cluster", on.address))
        start = time.perf_counter()
        there.run(folder / "calm")
        whole_s = time.perf_counter() - start
        found = list(chaos.problems(there, folder / "calm", expected, models))
        print(f"undisturbed on the cluster: {whole_s:.1f} s, {'; '.join(found) or 'the same outputs'}")
        while killed.all < count:
            out = folder / f"killed{number}"
            ended, said = disturbed(there, out, on, rng, whole_s / 6, killed, count)
            problems = [*found, *chaos.problems(there, out, expected, models), *given_up(out)]
            problems += [f"exit code {ended}, not {code}: {said[-200:]}"] if ended != code else []
            for problem in problems:
                print(f"batch {number}: {problem}")
            good &= not problems
            number += 1
            shutil.rmtree(out)
    print(
        f"{killed.all} kills in {number} batches: {killed.workers} worker processes, {killed.nannies} workers"
        f" with their nanny, {killed.batches} times the batch itself"
    )
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = chaos.prepare(folder, given.models, ("--jobs", "2"))
        good = run(here, folder, given.kills, given.workers, given.seed)
    print("all as it should be" if good else "NOT as it should be")
    sys.exit(not good)


if __name__ == "__main__":
    main()
