"""Kill a batch at random moments, resume it to the end, and see that nothing is lost and nothing done twice.

    python benchmarks/chaos.py [--kills 30] [--models 24] [--jobs 2] [--seed 0]

A batch that is left alone gives the hashes that every other must end with. Then, `--kills` times, a batch is
killed by SIGKILL at a random moment (every other time all its processes, else the parent alone) and the same
command is run again. Held against each other: hashes of all outputs, lines of the journal (one per model:
what was recorded is not done twice), leftovers in the output folder and in TMPDIR, processes that live on.

Afterwards a full disk (a limit on file sizes; a small tmpfs where the system lets us mount one) and an output
that cannot be written: the exit code must be 2, the message one line, the journal readable, and a run with
space again must end as the one left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zoo_models

RECIPE = """version: 1
calibration: {samples: 4}
passes: [simplify, {quantize_int8: {select: all}}]
benchmark: {profiles: []}
"""
OPTIMIZE = [sys.executable, "-c", "from onnx_pare.cli.main import optimize; optimize()"]
FILE_LIMIT_BYTES = 24 << 10
DEATH_S = 10.0


@dataclass(frozen=True)
class Batch:
    """A zoo, its recipe, where temporary files of the runs go, and the flags that say on what they run."""

    zoo: Path
    recipe: Path
    tmp: Path
    on: Sequence[str]

    def start(self, out: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Start the command in a process group of its own."""
        arguments = [str(self.zoo), "-c", str(self.recipe), "-o", str(out), *self.on, "-q"]
        return subprocess.Popen(
            [*OPTIMIZE, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.tmp)},
            start_new_session=True,
            preexec_fn=before,
        )

    def run(self, out: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
        """Run the command to its end; return the exit code and what it said."""
        process = self.start(out, before)
        _, said = process.communicate()
        return process.returncode, said


def hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every model in an output folder."""
    models = sorted(path for path in out.rglob("*.onnx") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in models}


def recorded(out: Path) -> list[dict[str, object]]:
    """Return the lines of the journal that are whole."""
    path = out / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def kill_once(batch: Batch, out: Path, after_s: float, everything: bool) -> int:
    """Start a batch, kill it after so many seconds, and return how many models it had recorded."""
    process = batch.start(out)
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        for pid in list(_family(process.pid)) if everything else [process.pid]:
            kill(pid)
    process.wait()
    process.stderr.close()  # type: ignore[union-attr]
    return len(recorded(out))


def problems(batch: Batch, out: Path, expected: dict[str, str], models: int) -> Iterator[str]:
    """Yield what is wrong with a folder after a batch was killed and resumed."""
    found = hashes(out)
    if found != expected:
        wrong = [name for name in {*found, *expected} if found.get(name) != expected.get(name)]
        yield f"{len(wrong)} outputs differ: {wrong[:3]}"
    lines = Counter(str(line["model"]) for line in recorded(out))
    if len(lines) != models:
        yield f"{models - len(lines)} models are not in the journal"
    if twice := [model for model, count in lines.items() if count > 1]:
        yield f"{len(twice)} models were recorded and done again: {twice[:3]}"
    if parts := [path.name for path in out.rglob("*.part")]:
        yield f"temporary files are left: {parts[:3]}"
    if left := list(batch.tmp.iterdir()):
        yield f"TMPDIR holds {left[:3]}"


def alive(batch: Batch) -> Iterator[int]:
    """Yield processes that have the batch's TMPDIR in their environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"TMPDIR={batch.tmp}".encode() in environment and state != "Z":
            yield int(folder.name)


def kills(batch: Batch, folder: Path, count: int, seed: int) -> bool:
    """Kill and resume `count` times; return whether all went well."""
    start = time.perf_counter()
    code, said = batch.run(folder / "undisturbed")
    whole_s = time.perf_counter() - start
    expected, models = hashes(folder / "undisturbed"), len(recorded(folder / "undisturbed"))
    print(f"undisturbed: exit code {code}, {models} models, {len(expected)} outputs, {whole_s:.1f} s")
    rng, good, done_at_kill = random.Random(seed), True, []
    for number in range(count):
        out = folder / f"killed{number}"
        done_at_kill.append(kill_once(batch, out, rng.uniform(0.05, whole_s), everything=number % 2 == 0))
        time.sleep(0.2)  # the kernel has had time to tell the workers that nobody wants them any more
        lived_on = list(alive(batch))
        code_after, said = batch.run(out)
        found = list(problems(batch, out, expected, models))
        found += [f"{len(lived_on)} processes lived on"] if lived_on else []
        found += [f"exit code {code_after}, not {code}: {said[-200:]}"] if code_after != code else []
        for problem in found:
            print(f"kill {number}: {problem}")
        good &= not found
        shutil.rmtree(out)
    print(
        f"{count} kills, with {min(done_at_kill)} to {max(done_at_kill)} of {models} models recorded by then"
    )
    return good


def full_disk(batch: Batch, folder: Path) -> bool:
    """Run into a full disk, then with space again; return whether all went well."""
    expected, models = hashes(folder / "undisturbed"), len(recorded(folder / "undisturbed"))
    good = _disturbed(batch, folder / "limited", "limit on file sizes", expected, models, _limit_files)
    whole = sum(path.stat().st_size for path in (folder / "undisturbed").rglob("*") if path.is_file())
    with _mounted(folder / "tmpfs", f"size={whole // 2}") as mounted:
        if mounted:
            code, said = batch.run(folder / "tmpfs")
            good &= _clear("small tmpfs", code, said)
            for line in recorded(folder / "tmpfs"):
                good &= line["status"] != "ok" or (folder / "tmpfs" / str(line["model"])).is_file()
            subprocess.run(["mount", "-o", "remount,size=1g", str(folder / "tmpfs")], check=True)
            batch.run(folder / "tmpfs")
            good &= _report("small tmpfs", list(problems(batch, folder / "tmpfs", expected, models)))
    return good


def read_only(batch: Batch, folder: Path) -> bool:
    """Let an output folder become read-only in between; return whether all went well."""
    with _mounted(folder / "readonly", "size=1g") as mounted:
        if not mounted:
            print("read-only output: not tried, no file system can be mounted")
            return True
        kill_once(batch, folder / "readonly", 6.0, everything=True)
        before = (folder / "readonly" / "journal.jsonl").read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(folder / "readonly")], check=True)
        code, said = batch.run(folder / "readonly")
        good = _clear("read-only output", code, said)
        good &= (folder / "readonly" / "journal.jsonl").read_bytes() == before
        subprocess.run(["mount", "-o", "remount,rw", str(folder / "readonly")], check=True)
        batch.run(folder / "readonly")
        expected, models = hashes(folder / "undisturbed"), len(recorded(folder / "undisturbed"))
        return good & _report(
            "read-only output", list(problems(batch, folder / "readonly", expected, models))
        )


def _disturbed(
    batch: Batch, out: Path, what: str, expected: dict[str, str], models: int, before: Callable[[], None]
) -> bool:
    code, said = batch.run(out, before)
    good = _clear(what, code, said)
    batch.run(out)
    return good & _report(what, list(problems(batch, out, expected, models)))


def _clear(what: str, code: int, said: str) -> bool:
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    print(f"{what}: exit code {code}, {errors[0] if errors else said[-300:]}")
    return code == 2 and len(errors) == 1 and "Traceback" not in said


def _report(what: str, found: list[str]) -> bool:
    print(f"{what}, then with space: {'; '.join(found) or 'as undisturbed'}")
    return not found


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


@contextmanager
def _mounted(folder: Path, options: str) -> Iterator[bool]:
    """Mount a file system in memory at `folder`; yield whether that worked."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _family(pid: int) -> Iterator[int]:
    from onnx_pare.processes import family

    yield from family(pid)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def prepare(folder: Path, models: int, on: Sequence[str]) -> Batch:
    """Make a zoo of `models` small models and a broken one."""
    for number in range(models):
        path = folder / "zoo" / f"{number % 3}" / f"{number}.onnx"
        zoo_models.small(path, 8 + 4 * (number % 7), 1 + number % 4, number)
    (folder / "zoo" / "broken.onnx").write_bytes(b"no model")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "tmp").mkdir()
    return Batch(folder / "zoo", folder / "recipe.yaml", folder / "tmp", on)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch = prepare(folder, given.models, ("--jobs", str(given.jobs)))
        good = [kills(batch, folder, given.kills, given.seed)]
        good += [full_disk(batch, folder), read_only(batch, folder)]
    print("all as it should be" if all(good) else "NOT as it should be")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
