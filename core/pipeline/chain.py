"""Running passes one after the other, each one checked before the next."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.errors import InputError, PareError, PassError, VerificationError
from onnx_pare.graph.lean import stays_in_file
from onnx_pare.graph.load import first_line
from onnx_pare.graph.mapped import hold_at, lies_in_files
from onnx_pare.graph.runnable import runnable
from onnx_pare.graph.save import remove_model, write_model
from onnx_pare.graph.signature import Signature, signature
from onnx_pare.graph.verify import problems
from onnx_pare.pipeline.report import PassRecord

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.bench.fidelity import Fidelity, Reference
    from onnx_pare.passes.base import Context, Outcome, Pass

# what float rounding in another order may cost a lossless pass
LOSSLESS_DB = 60.0
# what is no bug of a pass, but asks too much of it
_REASONS: Mapping[type[Exception], str] = {
    MemoryError: "ran out of memory",
    RecursionError: "the graph nests too deep",
    np.linalg.LinAlgError: "its equations cannot be solved: weights or activations are too large, or NaN",
}
# samples that each pass's result is compared on; the final model is compared on all of them
CHECK_SAMPLES = 32


@dataclass(frozen=True)
class Chain:
    """What came out of the passes.

    Attributes:
        model: The model after the last pass.
        path: Its file: in the scratch folder, or the original if no pass changed anything.
        runnable: The file of it that onnxruntime loads, see `graph.runnable`.
        records: One entry per pass.
        warnings: What the passes and checks said.
    """

    model: ir.Model
    path: Path
    runnable: Path
    records: tuple[PassRecord, ...]
    warnings: tuple[str, ...]


def run_passes(
    model: ir.Model, original: Path, passes: Sequence[Pass], context: Context, reference: Reference
) -> Chain:
    """Apply the passes in order, and check the model after each one that changed it.

    Args:
        model: The model as loaded; it is not changed.
        original: A file of it.
        passes: What to apply.
        context: What the passes share.
        reference: The original, to compare with after each pass.

    Raises:
        InputError: A pass cannot work with these options on this model or data.
        PassError: A pass failed; it names the passes that ran before it.
        VerificationError: What a pass made is invalid, does not load, or is not what the pass promises.
    """
    promised = signature(model)
    path, loaded = original, reference.path
    fidelity: Fidelity | None = None
    records: list[PassRecord] = []
    warnings: list[str] = []
    for index, one in enumerate(passes, start=1):
        before = [record.name for record in records]
        start = time.perf_counter()
        with context.progress.task(f"pass {index} of {len(passes)}: {one.name}", None):
            outcome = _apply(one, model.clone(), context, before)
        seconds = time.perf_counter() - start
        warnings += outcome.warnings
        if outcome.changed:
            model, previous = outcome.model, {path, loaded}
            path = context.scratch / f"{index}-{one.name}.onnx"
            written = _write(model, path)
            fidelity = _verify(one, model, written, loaded, promised, reference, context, before)
            loaded = written
            for file in previous - {original, reference.path}:
                remove_model(file)
        records.append(_record(one, outcome, seconds, fidelity))
    return Chain(model, path, loaded, tuple(records), tuple(dict.fromkeys(warnings)))


def _apply(one: Pass, model: ir.Model, context: Context, before: Sequence[str]) -> Outcome:
    try:
        return one.apply(model, context)
    except InputError as error:
        error.message = f"pass {one.name}: {error.message}"
        raise
    except PassError as error:
        raise type(error)(one.name, error.reason, before=before, hint=error.hint) from error
    except PareError:
        raise
    except tuple(_REASONS) as error:
        reason = next(said for kind, said in _REASONS.items() if isinstance(error, kind))
        raise PassError(one.name, reason, before=before) from error
    except (
        Exception
    ) as error:  # a bug in the pass, or a model it does not expect: say which pass, keep the cause
        said = f"{type(error).__name__}: {first_line(error)}"
        raise PassError(
            one.name, said, before=before, hint="Run again with --debug for the traceback."
        ) from error


def _write(model: ir.Model, path: Path) -> Path:
    """Write a model, and return the file to load in onnxruntime.

    The weights of a large model stay there, and so do those that lie in an earlier file, which may go.
    """
    write_model(model, path)
    loaded = runnable(path, path.parent)
    if stays_in_file(path) or lies_in_files(model):
        hold_at(model, loaded)
    return loaded


def _verify(
    one: Pass,
    model: ir.Model,
    path: Path,
    previous: Path,
    promised: Signature,
    reference: Reference,
    context: Context,
    before: Sequence[str],
) -> Fidelity:
    from onnx_pare.bench.fidelity import compare

    found = problems(path, promised, signature(model))
    if found:
        raise VerificationError(one.name, "; ".join(found), before=before)
    fidelity = reference.compare(path, progress=context.progress)
    if fidelity.sqnr_db == -math.inf:
        raise VerificationError(
            one.name, "the outputs hold NaN or infinities that the original's do not", before=before
        )
    if one.lossless:
        own = compare(previous, path, context.samples, threads=context.threads, limit=CHECK_SAMPLES)
        if own.sqnr_db is not None and own.sqnr_db < LOSSLESS_DB:
            said = f"must not change the outputs, but their SQNR is {own.sqnr_db:.1f} dB"
            raise VerificationError(one.name, said, before=before)
    return fidelity


def _record(one: Pass, outcome: Outcome, seconds: float, fidelity: Fidelity | None) -> PassRecord:
    return PassRecord(
        name=one.name,
        options=one.options.model_dump(mode="json"),
        seconds=seconds,
        changed=outcome.changed,
        notes=outcome.notes,
        sqnr_db=math.inf if fidelity is None else fidelity.sqnr_db,
        top1_agreement=None if fidelity is None else fidelity.top1_agreement,
    )
