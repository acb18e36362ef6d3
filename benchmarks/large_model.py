"""Peak memory of loading and saving a model beyond 2 GiB: weights must never be held twice.

    python benchmarks/large_model.py [GIGABYTES]

Makes a model of that many GB (default 3) of float32 weights in external data, loads it, writes it and
publishes it in a process of its own, and prints that process's peak resident memory beside the weights' size.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE = 4096  # one weight: 64 MiB


def build(folder: Path, gigabytes: float) -> Path:
    import numpy as np
    from onnx import TensorProto, helper

    count = max(1, round(gigabytes * 1e9 / (SIDE * SIDE * 4)))
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(SIDE * SIDE, np.float32)
    initializers, nodes = [], []
    with (folder / "w.bin").open("wb") as file:
        for index in range(count):
            tensor = TensorProto(
                name=f"w{index}", dims=[SIDE, SIDE], data_type=1, data_location=TensorProto.EXTERNAL
            )
            tensor.external_data.add(key="location", value="w.bin")
            tensor.external_data.add(key="offset", value=str(file.tell()))
            tensor.external_data.add(key="length", value=str(weight.nbytes))
            weight[0] = index
            file.write(weight.tobytes())
            initializers.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"h{index}", f"w{index}"], [f"h{index + 1}"]))
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
    return path


def copy(source: Path, folder: Path) -> None:
    from onnx_pare.graph.load import load_model
    from onnx_pare.graph.save import publish, weight_bytes, write_model

    start = time.perf_counter()
    model = load_model(source)
    loaded = time.perf_counter()
    write_model(model, folder / "scratch.onnx")
    written = time.perf_counter()
    publish(folder / "scratch.onnx", folder / "out.onnx", overwrite=False)
    published = time.perf_counter()
    weights_mb = weight_bytes(model) / 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"weights {weights_mb:.0f} MB, peak memory {peak_mb:.0f} MB ({peak_mb / weights_mb:.2f} of them)")
    print(f"load {loaded - start:.1f} s, write {written - loaded:.1f} s, publish {published - written:.1f} s")


def main() -> None:
    if len(sys.argv) > 2:
        copy(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        source = build(Path(name), float(sys.argv[1]) if len(sys.argv) > 1 else 3)
        subprocess.run([sys.executable, __file__, str(source), name], check=True)


if __name__ == "__main__":
    main()
