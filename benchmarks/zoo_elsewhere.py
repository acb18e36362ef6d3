"""What a model of a batch costs elsewhere: from and to an object store, on a cluster, and both.

    pip install 'moto[server]' s3fs
    python benchmarks/zoo_elsewhere.py [--models 60] [--kilobytes 0]

The same zoo of small networks (padded with that many kB of weights nobody reads) with one worker, and one
command after the other: local files, an S3 store that moto plays on this machine, a Dask cluster of one
process, and both. Per model: wall time, less that of a batch of one broken model, less the time that the
models' own processes took. The store is as near as can be, so this is what our side of it costs; latency and
bandwidth of a real one come on top.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
import zoo_models
from onnx import numpy_helper
from zoo import OPTIMIZE, TINY

BUCKET = "zoo"


def run(models: str, recipe: Path, out: str, on: Sequence[str]) -> tuple[float, float]:
    """Run a batch as a user would; return its seconds, and those in the processes of the models."""
    start = time.perf_counter()
    command = [*OPTIMIZE, models, "-c", str(recipe), "-o", out, *on, "-q", "--report-json", "-"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode not in (0, 4):
        sys.exit(ran.stderr)
    return time.perf_counter() - start, json.loads(ran.stdout)["work_seconds"]


def pad(path: Path, kilobytes: int) -> None:
    """Give a model weights that nobody reads."""
    import numpy as np

    model = onnx.load(path)
    unread = np.random.default_rng(0).integers(0, 256, kilobytes * 1000, dtype=np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(unread, "unread"))
    onnx.save(model, path)


def start_store(folder: Path) -> str:
    """Start an S3 store on this machine with the zoos of `folder`; return its URL."""
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    import fsspec

    store = fsspec.filesystem("s3")
    store.mkdir(BUCKET)
    for path in folder.rglob("*.onnx"):
        store.put_file(str(path), f"{BUCKET}/{path.relative_to(folder)}")
    return f"s3://{BUCKET}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--kilobytes", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_DATA_HOME"] = str(folder / "home")
        (folder / "recipe.yaml").write_text(TINY, encoding="utf-8")
        for number in range(given.models):
            path = zoo_models.small(folder / "in" / "many" / f"{number:04}.onnx", 8, 1, number)
            pad(path, given.kilobytes)
        (folder / "in" / "one").mkdir()
        (folder / "in" / "one" / "x.onnx").write_bytes(b"no model")
        store, here, number = start_store(folder / "in"), str(folder / "in"), 0
        for place, source, target in (("local files", here, str(folder)), ("S3", store, f"{store}/out")):
            for workers, on in (("--jobs 1", ()), ("--cluster local:1", ("--cluster", "local:1"))):
                outs = [f"{target}/{what}{number}" for what in ("many", "one")]
                recipe = folder / "recipe.yaml"
                one, _ = run(f"{source}/one", recipe, outs[1], on)
                many, work = run(f"{source}/many", recipe, outs[0], on)
                again, _ = run(f"{source}/many", recipe, outs[0], on)
                each = [1e3 * seconds / given.models for seconds in (many - one - work, again - one)]
                print(
                    f"{place}, {workers}: {each[0]:.0f} ms per model beside"
                    f" {1e3 * work / given.models:.0f} ms of work, start {one:.1f} s;"
                    f" resumed, nothing to do: {each[1]:.0f} ms per model"
                )
                number += 1
        shutil.rmtree(folder / "in")


if __name__ == "__main__":
    main()
