"""Opening a model in onnxruntime: the one place that knows how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.graph.load import first_line
from onnx_pare.graph.signature import DTYPE_NAMES, Port

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

# optimizers of onnxruntime that hold weights more than once: one restores all compressed ones step by step (3
# times their size as floats), the other lays out those of convolutions anew (twice)
HUNGRY = ("ConstantFolding", "NchwcTransformer")
Feeds = dict[str, "np.ndarray[Any, Any]"]


class SessionError(Exception):
    """Onnxruntime refused a model or failed to run it; the message is its first line."""


class Session:
    """A model loaded in onnxruntime on the CPU.

    Attributes:
        inputs: Names of the inputs that must be fed, in order (initializers that are also inputs are not).
        outputs: Names of the outputs, in order.
        output_ports: The outputs as onnxruntime infers them; no shape is given as `()`, like a scalar's.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimize: bool = True,
        optimized_path: Path | None = None,
        spin_between_runs: bool = True,
        without: Sequence[str] = (),
    ) -> None:
        """Load the model at `path`; a path, not bytes, so that external data and 2 GiB models work.

        Args:
            path: The ONNX file.
            threads: Threads inside one operator; operators run one after the other.
            optimize: Whether onnxruntime may fuse and replace operators and lay weights out anew, as usual.
            optimized_path: Where to write the graph onnxruntime made of it, to look at fused kernels.
            spin_between_runs: Whether idle threads go on spinning after a run, onnxruntime's default. Turn it
                off where sessions run in turn: one's spinning threads take the cores from the other's.
            without: Names of optimizers of onnxruntime to leave out, see `HUNGRY`.

        Raises:
            SessionError: onnxruntime does not load the model.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.disable_prepacking", "1")
        if not spin_between_runs:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if optimized_path is not None:
            options.optimized_model_filepath = str(optimized_path)
        try:
            self._session: ort.InferenceSession = ort.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(without),
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            raise SessionError(_reason(error)) from error
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.output_ports = tuple(
            Port(value.name, _dtype(value.type), tuple(value.shape)) for value in self._session.get_outputs()
        )
        self.outputs = tuple(port.name for port in self.output_ports)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> list[Any]:
        """Run once and return the named outputs (default: all), in order.

        Raises:
            SessionError: onnxruntime failed, for one because a feed has the wrong shape or type.
        """
        try:
            return list(self._session.run(outputs, feeds))
        except Exception as error:
            raise SessionError(_reason(error)) from error


@cache
def newest_ir_version() -> int | None:
    """Return the newest IR version that the installed onnxruntime loads, None if it does not say."""
    import onnxruntime as ort
    from onnx import helper

    graph = helper.make_graph([], "probe", [], [])
    future = helper.make_model(graph, ir_version=1 << 20, opset_imports=[helper.make_opsetid("", 7)])
    try:
        ort.InferenceSession(future.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        found = re.search(r"max supported IR version: (\d+)", str(error))
        return int(found[1]) if found else None
    return None


def _reason(error: Exception) -> str:
    """Return what onnxruntime says, without its own source positions and our temporary paths."""
    said = first_line(error).removeprefix("[ONNXRuntimeError] : ")
    return re.sub(r"/onnxruntime_src/\S+:\d+ .*?\([^()]*\) |Load model from \S+ failed:", "", said)


def _dtype(kind: str) -> str:
    """Read `tensor(float)` as `float32`; what is no tensor has no element type."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return DTYPE_NAMES.get(name.upper(), name) if kind.startswith("tensor(") else ""
