"""What a change does to a model's outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnx_pare.bench.judge import Judge
from onnx_pare.bench.tally import DB_LIMIT
from onnx_pare.sparsity.substitution import Means

if TYPE_CHECKING:
    import onnx_ir as ir

# models are compared on as many samples as take about so many multiply-accumulates, within these bounds
TOTAL_MACS, FEWEST, MOST = 3e12, 4, 64


def harm_on(model: ir.Model, macs: int, times: int, means: Means) -> Callable[[ir.Model], float]:
    """Return what tells the mean square error of another model's outputs, relative to this one's power.

    How many samples it looks at depends on sizes alone: the same model gives the same result anywhere.

    Args:
        model: The model to compare with; it may be changed afterwards.
        macs: Multiply-accumulates of one inference.
        times: How often models will be compared.
        means: What to do it with.
    """
    samples = means.samples
    count = min(max(FEWEST, int(TOTAL_MACS / max(macs * times, 1))), MOST, len(samples))
    chosen = samples if count == len(samples) else samples.apart(count)[1]
    judge = Judge(model.clone(), chosen, means.scratch, means.threads)
    return lambda other: float(10.0 ** (-min(max(judge.sqnr_db(other), -DB_LIMIT), DB_LIMIT) / 10))
