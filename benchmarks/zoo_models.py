"""Make a zoo of any size: real models, weightless graphs given seeded weights, and mutations of both.

    python benchmarks/zoo_models.py FOLDER [--models 300] [--largest-mmacs 150] [--seed 0]

Of each original, mutants follow: other weights (seeded noise of 1 %) or other names. Every tenth model is
a broken one (cut short, or with bytes changed), as zoos have them. Real models and graphs come from
$PARE_SHARED; without it only small networks written here are mutated.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import untrained

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("PARE_SHARED", ROOT.parent / "shared"))
BROKEN_EVERY = 10
NOISE = 0.01
LARGEST_REAL_BYTES = 4 << 20

Rng = np.random.Generator


def make(folder: Path, count: int, *, largest_mmacs: float = 150, seed: int = 0) -> None:
    """Write `count` models into `folder`, which is made."""
    originals = list(_originals(folder / "originals", largest_mmacs, seed, count))
    for path in originals[count:]:
        path.unlink()
    numbers = range(count - len(originals))
    for number, original in zip(numbers, itertools.cycle(originals[:count]), strict=False):
        rng = np.random.default_rng((seed, number))
        target = folder / "mutants" / f"{number:04}_{original.stem}.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_mutant(original.read_bytes(), number, rng))


def small(path: Path, width: int, depth: int, seed: int) -> Path:
    """Write a small convolutional classifier with seeded weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, weights, channels = [], [], 3
    for layer in range(depth):
        kernel = rng.normal(size=(width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [f"r{layer}", f"w{layer}"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer + 1}"]))
        channels = width
    nodes.append(helper.make_node("GlobalAveragePool", [f"r{depth}"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "head"], ["scores"]))
    head = rng.normal(size=(width, 10)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("r0", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def _originals(folder: Path, largest_mmacs: float, seed: int, count: int) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((SHARED / "models").glob("*.onnx")):
        if path.stat().st_size <= LARGEST_REAL_BYTES:
            copy = folder / path.name
            copy.write_bytes(path.read_bytes())
            yield copy
    for source in itertools.islice(_graphs(largest_mmacs), count // 4):
        target = folder / f"{source.parent.name}_{source.name}"
        untrained.write(source, target, seed)
        yield target
    for number in range(8):
        yield small(folder / f"small{number}.onnx", 8 + 4 * number, 2 + number % 4, seed + number)


def _graphs(largest_mmacs: float) -> Iterator[Path]:
    """Yield weightless graphs of at most so many million MACs, the smallest first."""
    table = SHARED / "archs" / "truth.csv"
    if not table.is_file():
        return
    with table.open(encoding="utf-8", newline="") as file:
        rows = [(float(row["gmacs_counted_here"]) * 1e3, row["file"]) for row in csv.DictReader(file)]
    for mmacs, name in sorted(rows):
        if mmacs <= largest_mmacs:
            yield SHARED / "archs" / name


def _mutant(content: bytes, number: int, rng: Rng) -> bytes:
    if number % BROKEN_EVERY == BROKEN_EVERY - 1:
        return _broken(content, rng)
    import onnx

    model = onnx.load_from_string(content)
    (_noise, _rename, _noise)[number % 3](model, rng)
    return bytes(model.SerializeToString())


def _broken(content: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.5:
        return content[: rng.integers(1, len(content))]
    damaged = bytearray(content)
    for place in rng.integers(0, len(content), 20):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def _noise(model: Any, rng: Rng) -> None:
    """Change every float weight by about 1 %."""
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            values = values * (1 + NOISE * rng.standard_normal(values.shape, np.float32))
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _rename(model: Any, rng: Rng) -> None:
    """Give all inner values of the main graph other names, where no subgraph may read them."""
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        _noise(model, rng)
        return
    outside = {value.name for value in (*model.graph.input, *model.graph.output)}
    outside |= {tensor.name for tensor in model.graph.initializer}
    suffix = f"_{rng.integers(1 << 30)}"
    made = {name for node in model.graph.node for name in node.output if name and name not in outside}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name + suffix if name in made else name for name in names]
    for value in model.graph.value_info:
        value.name += suffix if value.name in made else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--largest-mmacs", type=float, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make(given.folder, given.models, largest_mmacs=given.largest_mmacs, seed=given.seed)
    print(len(list(given.folder.rglob("*.onnx"))), "models in", given.folder)


if __name__ == "__main__":
    main()
