"""Prove the channel groups of every graph: what reads the channels is set to zero, then they are removed.

    python benchmarks/channel_groups.py [NAME ...] [--ratio 0.3] [--shared ../shared] [--seed 0]

Graphs without weights get seeded random ones; where those make a graph so large that rounding differences
grow beyond the limit, they are drawn again as `untrained.py` does, with activations of unit variance (marked
`*`). A Softmax or Sigmoid at the end could hide differences: what it reads is compared too.

Of every group a random share of the units is chosen, and the slices of all weights that read them are set to
zero; if the groups are right, removing the units then leaves the outputs as they are. Prints for each graph
the MACs before and after, the largest deviation relative to the output's magnitude, and at the end what was
left alone, by reason. Exits with 1 if any graph fails to run or deviates by more than 1e-4.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.groups import Groups, Slices

LIMIT = 1e-4
# of inputs (batch, length) without one
FREE_LENGTH = 512
SATURATING = ("Sigmoid", "Softmax")
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def seeded(path: Path, seed: int = 0) -> ir.Model:
    """Return a model; the `weight_` nodes of a graph without weights become He-normal random weights."""
    from onnx_pare.graph.edit import add_initializer, constant
    from onnx_pare.graph.load import load_model

    model = load_model(path)
    rng = np.random.default_rng(seed)
    for node in list(model.graph):
        shape = constant(node.inputs[0]) if node.op_type == "ConstantOfShape" else None
        if shape is None or not (node.name or "").startswith("weight_"):
            continue
        value = node.outputs[0]
        name, filled = value.name or "", node.attributes["value"].as_tensor().numpy()
        value.name = f"{name}_before"
        array = np.full(shape, filled[0])
        if filled.dtype == np.float32:
            array = _drawn(value, tuple(shape.tolist()), rng)
        new = add_initializer(model.graph, name, array)
        value.replace_all_uses_with(new)
        model.graph.remove(node, safe=True)
    return model


def scaled(path: Path, seed: int, folder: Path) -> ir.Model:
    """Return a model with weights that keep its activations at unit variance."""
    from untrained import write

    from onnx_pare.graph.load import load_model

    write(path, folder / "scaled.onnx", seed)
    return load_model(folder / "scaled.onnx")


def bare(model: ir.Model) -> ir.Model:
    """Make what the last Softmax and Sigmoid read outputs of the model too."""
    for value in list(model.graph.outputs):
        node = value.producer()
        read = node.inputs[0] if node is not None and node.op_type in SATURATING else None
        if read is not None and not read.is_graph_output():
            read.type, read.shape = value.type, value.shape
            model.graph.outputs.append(read)
    return model


def _drawn(value: ir.Value, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    use = next(iter(value.uses()), None)
    op, place = (use.node.op_type, use.idx) if use is not None else ("", 0)
    noise = rng.standard_normal(shape, np.float32)
    if op in LAYERS and place == 1:
        into = 1 if op in ("Conv", "ConvTranspose") or use.node.attributes.get_int("transB", 0) else -2
        fan_in = np.prod(shape[1:]) if into == 1 else shape[-2 if len(shape) > 1 else 0]
        return noise * np.float32(np.sqrt(2 / fan_in))
    if op.endswith("Normalization") and place in (1, 4):
        return 1 + np.abs(noise) * np.float32(0.2)
    return noise * np.float32(0.1)


def zero(parts: Iterator[Slices], units: list[int]) -> None:
    """Set the slices of these units to zero."""
    from onnx_pare.graph.edit import constant, set_constant

    for part in parts:
        array = np.array(constant(part.value))
        np.moveaxis(array, part.axis, 0)[np.isin(part.unit_of, units)] = 0
        set_constant(part.value, array)


def choose(groups: Groups, ratio: float, rng: np.random.Generator) -> dict[int, list[int]]:
    """Return a random share of the units of every group."""
    counts = {index: int(ratio * group.units) for index, group in groups.items()}
    return {
        index: sorted(rng.permutation(groups[index].units)[:count].tolist())
        for index, count in counts.items()
        if count
    }


def prove(
    model: ir.Model, ratio: float, seed: int, folder: Path
) -> tuple[float, int, int, Groups, dict[str, float]]:
    """Return the deviation, the MACs before and after, the groups, and seconds."""
    from onnx_pare.calibration.synthetic import synthetic_samples
    from onnx_pare.cost.count import count
    from onnx_pare.graph.groups import find_groups
    from onnx_pare.graph.save import write_model
    from onnx_pare.graph.session import Session
    from onnx_pare.graph.shapes import infer, input_shapes
    from onnx_pare.graph.signature import signature
    from onnx_pare.graph.surgery import remove_channels
    from onnx_pare.graph.verify import problems

    ports = signature(model)
    flat = [port for port in ports.inputs if port.shape is not None and len(port.shape) == 2]
    given = {port.name: (1, FREE_LENGTH) for port in flat if not isinstance(port.shape[1], int)}
    sample = next(iter(synthetic_samples(model, count=1, seed=seed, shapes=given)))
    shapes = infer(model, input_shapes(model, given))
    started = time.perf_counter()
    groups = find_groups(model, shapes)
    seconds = {"find": time.perf_counter() - started}
    units = choose(groups, ratio, np.random.default_rng(seed))
    for index, chosen in units.items():
        zero(iter(groups[index].consumers), chosen)
        if groups[index].contracted or not groups[index].consumers:
            zero(iter((*groups[index].producers, *groups[index].others)), chosen)
    before = count(model, shapes).macs
    write_model(model, folder / "before.onnx")
    expected = Session(folder / "before.onnx").run(sample)
    started = time.perf_counter()
    remove_channels(model, groups, units)
    seconds["remove"] = time.perf_counter() - started
    write_model(model, folder / "after.onnx")
    found = problems(folder / "after.onnx", ports, signature(model))
    if found:
        raise ValueError("; ".join(map(str, found)))
    got = Session(folder / "after.onnx").run(sample)
    after = count(model, infer(model, input_shapes(model, given))).macs
    return max(map(deviation, expected, got)), before, after, groups, seconds


def deviation(expected: Any, got: Any) -> float:
    """Return the largest difference, relative to the largest magnitude; infinite if nothing was compared."""
    expected, got = (np.asarray(array, np.float64) for array in (expected, got))
    constant = expected.size > 1 and np.ptp(expected) == 0
    if expected.shape != got.shape or not np.isfinite(expected).all() or constant:
        return np.inf
    return float(np.abs(expected - got).max() / max(np.abs(expected).max(), 1e-30)) if expected.size else 0.0


def paths(shared: Path, names: list[str]) -> Iterator[Path]:
    """Yield the files to try, small ones first."""
    every = [*shared.glob("models/*.onnx"), *shared.glob("archs/*/*.onnx")]
    for path in sorted(every, key=lambda path: path.stat().st_size):
        if not names or path.stem in names:
            yield path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("PARE_SHARED", "../shared")))
    options = parser.parse_args()
    failed, left = 0, Counter[str]()
    print(f"{'graph':44} {'groups':>6} {'units':>6} {'MACs before':>15} {'after':>6} {'deviation':>9}")
    for path in paths(options.shared, options.names):
        with tempfile.TemporaryDirectory() as name:
            folder, mark = Path(name), ""
            try:
                found = prove(bare(seeded(path, options.seed)), options.ratio, options.seed, folder)
                if not found[0] <= LIMIT:
                    mark = "*"
                    model = bare(scaled(path, options.seed, folder))
                    found = prove(model, options.ratio, options.seed, folder)
            except Exception as error:  # whatever it is, the other graphs are still of interest
                failed += 1
                print(f"{path.stem:44} FAILED: {type(error).__name__}: {str(error)[:300]}", flush=True)
                continue
        worst, before, after, groups, seconds = found
        label = f"{path.parent.name}/{path.stem}"
        failed += not worst <= LIMIT
        units = sum(group.units for group in groups.values())
        spent = " ".join(f"{name} {value:.2f}" for name, value in seconds.items())
        share = after / max(before, 1)
        print(
            f"{label:44} {len(groups):6} {units:6} {before:15,} {share:6.3f} {worst:9.1e}  {spent}",
            mark if worst <= LIMIT else f"{mark} DEVIATES",
            flush=True,
        )
        for entry in groups.left:
            left[f"{entry.stop.op}: {entry.stop.reason}"] += len(entry.layers)
            if options.names:
                print(f"    left {len(entry.layers)}: {', '.join(entry.layers[:3])} … {entry.stop}")
    for reason, layers in left.most_common():
        print(f"{layers:6} layers left: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
