"""Run a quantizer in a process of its own; its time without imports, its whole time, its peak memory.

    python benchmarks/quantizers.py TOOL MODEL SAMPLES TARGET

is what `run` starts for the peers: it needs numpy and the peer only, not onnx-pare, and so works in another
interpreter. SAMPLES is a folder of `.npz` files, each holding one run's inputs by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

OPSET = 13
# a process of its own starts the command, so that the peak is the command's (and its children's): the
# operating system counts the memory that a process had when it started another one as that one's
LAUNCHER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
try:
    done = subprocess.run(sys.argv[2:], capture_output=True, text=True, timeout=float(sys.argv[1]))
    said = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
except subprocess.TimeoutExpired:
    said = {"code": -1, "stdout": "", "stderr": f"not done after {sys.argv[1]} s"}
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({**said, "process_s": time.perf_counter() - start, "peak_bytes": peak}))
"""


def run(command: list[str], timeout_s: float) -> dict[str, Any]:
    """Run a command; return code, stdout, stderr, process_s and peak_bytes."""
    launcher = [sys.executable, "-c", LAUNCHER, str(timeout_s), *command]
    found: dict[str, Any] = json.loads(subprocess.run(launcher, capture_output=True, check=True).stdout)
    return found


def reason(found: dict[str, Any]) -> str:
    """Return in one line what went wrong: the message, of a traceback its end."""
    lines = found["stderr"].rpartition("Traceback (most recent call last)")[2].strip().splitlines()
    if "Traceback" in found["stderr"]:
        last = max((index for index, line in enumerate(lines) if line.startswith("  ")), default=-1)
        lines = lines[last + 1 :]
    return " ".join(line.strip() for line in lines) or f"exit code {found['code']}, no message"


class Feeds:
    """The samples of a folder, read one at a time, as often as asked."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(folder.glob("*.npz"))

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import numpy as np

        for file in self._files:
            with np.load(file) as arrays:
                yield dict(arrays)


def raised(model: Path, folder: Path) -> tuple[Path, str]:
    """Return the model with an opset that has scales per channel, and a note if it was older."""
    import onnx

    proto = onnx.load(model)
    opset = next(each.version for each in proto.opset_import if each.domain in ("", "ai.onnx"))
    if opset >= OPSET:
        return model, ""
    target = folder / "raised.onnx"
    onnx.save(onnx.version_converter.convert_version(proto, OPSET), target)
    return target, f"opset {opset} raised to {OPSET} before"


def onnxruntime(method: str, model: Path, feeds: Feeds, target: Path) -> str:
    from onnxruntime import quantization as ortq

    class Reader(ortq.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        model, note = raised(model, Path(folder))
        try:
            ortq.shape_inference.quant_pre_process(str(model), str(prepared))
        except Exception as error:  # what its message advises
            note = f"{note}; without symbolic shapes: {type(error).__name__} {error}".lstrip("; ")
            ortq.shape_inference.quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        ortq.quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=ortq.QuantFormat.QDQ,
            per_channel=True,
            # not its default: with int8 onnxruntime 1.32 keeps Relu between Q and DQ, half of ResNet-20's
            # convolutions stay float, and it takes three times as long
            activation_type=ortq.QuantType.QUInt8,
            calibrate_method=ortq.CalibrationMethod[method],
        )
    return note


def nncf(model: Path, feeds: Feeds, target: Path) -> str:
    import nncf as tool
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        model, note = raised(model, Path(folder))
        quantized = tool.quantize(onnx.load(model), tool.Dataset(feeds), subset_size=len(feeds))
    onnx.save(quantized, target)
    return note


PEERS: dict[str, Callable[[Path, Feeds, Path], str]] = {
    "onnxruntime-minmax": partial(onnxruntime, "MinMax"),
    "onnxruntime-percentile": partial(onnxruntime, "Percentile"),
    "onnxruntime-entropy": partial(onnxruntime, "Entropy"),
    "nncf": nncf,
}


def main() -> None:
    tool, model, samples, target = sys.argv[1], *map(Path, sys.argv[2:])
    import numpy as np  # noqa: F401
    import onnx.version_converter  # noqa: F401

    if tool == "nncf":
        import nncf
        import nncf.onnx  # noqa: F401
    else:
        import onnxruntime.quantization
        import onnxruntime.quantization.shape_inference  # noqa: F401
    start = time.perf_counter()
    note = PEERS[tool](model, Feeds(samples), target)
    print(json.dumps({"seconds": time.perf_counter() - start, "note": note}))


if __name__ == "__main__":
    main()
