"""Peak memory of the commands on a model of several GB: its weights must be held once, and never twice.

    python benchmarks/large_model.py [GIGABYTES]

Makes a model of that many GB (default 3) of float32 weights in external data, and runs `optimize` with
quantize_fp16 (storage_only) and quantize_weights, `pare inspect`, and `pare compare` on it, each in a process
of its own. Prints the peak of the resident memory of that process and all it started, mapped files included,
beside the size of the weights. Needs about twice the model on disk, and /proc.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SIDE = 4096  # one weight: 64 MiB
STEP_S = 0.02
# the peak does not depend on them, the time does
SAMPLES, RUNS = 8, 5
FEW = ["--samples", str(SAMPLES), "--runs", str(RUNS)]
RECIPE = f"""version: 1
calibration: {{samples: {SAMPLES}}}
benchmark: {{runs: {RUNS}}}
passes:
  - """
PASSES = {
    "fp16": "quantize_fp16: {storage_only: true}",
    "int8": "quantize_weights: {bits: 8}",
    "cast": "quantize_weights: {bits: 8, format: cast}",
}


def build(folder: Path, gigabytes: float) -> tuple[Path, int]:
    """Write a chain of MatMul and Relu; return its path and the bytes of its weights."""
    import numpy as np
    from onnx import TensorProto, helper

    count = max(1, round(gigabytes * 1e9 / (SIDE * SIDE * 4)))
    rng = np.random.default_rng(0)
    initializers, nodes = [], []
    with (folder / "w.bin").open("wb") as file:
        for index in range(count):
            # keeps the size of what passes through
            weight = rng.standard_normal((SIDE, SIDE), np.float32) * np.float32((2 / SIDE) ** 0.5)
            tensor = TensorProto(
                name=f"w{index}", dims=[SIDE, SIDE], data_type=1, data_location=TensorProto.EXTERNAL
            )
            tensor.external_data.add(key="location", value="w.bin")
            tensor.external_data.add(key="offset", value=str(file.tell()))
            tensor.external_data.add(key="length", value=str(weight.nbytes))
            file.write(weight.tobytes())
            initializers.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"h{index}", f"w{index}"], [f"m{index}"]))
            nodes.append(helper.make_node("Relu", [f"m{index}"], [f"h{index + 1}"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("h0", 1, [1, SIDE])],
        [helper.make_tensor_value_info(f"h{count}", 1, [1, SIDE])],
        initializers,
    )
    path = folder / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    return path, count * SIDE * SIDE * 4


def commands(model: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what to run, by what to call it."""
    folder = model.parent
    for name, entry in PASSES.items():
        recipe, output = folder / f"{name}.yaml", folder / f"{name}.onnx"
        recipe.write_text(RECIPE + entry)
        yield f"optimize ({name})", ["optimize", str(model), "-c", str(recipe), "-o", str(output)]
        yield f"compare ({name})", ["compare", str(model), str(output), *FEW]
        yield f"inspect ({name})", ["inspect", str(output)]
    yield "inspect", ["inspect", str(model)]


def peak_bytes(arguments: list[str]) -> int:
    """Run a command of `pare`, and return the most memory that it and its children held together."""
    command = [str(Path(sys.executable).with_name("pare")), *arguments]
    peak = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while process.poll() is None:
            peak = max(peak, sum(_resident(process.pid)))
            time.sleep(STEP_S)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said.read().decode()}")
    return peak


def _resident(pid: int) -> Iterator[int]:
    """Yield the resident bytes of a process and of all below it; one that just ended has none."""
    try:
        yield int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        children = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in " ".join(children).split():
        yield from _resident(int(child))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        model, weights = build(Path(name), float(sys.argv[1]) if len(sys.argv) > 1 else 3)
        print(f"weights {weights / 1e6:.0f} MB")
        for what, arguments in commands(model):
            start = time.perf_counter()
            peak = peak_bytes(arguments)
            seconds = time.perf_counter() - start
            print(
                f"{what:16} peak {peak / 1e6:5.0f} MB, {peak / weights:.2f} of them, {seconds:4.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
