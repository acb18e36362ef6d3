"""Checking that a model is valid, loads, and kept its signature."""

from __future__ import annotations

import warnings
from pathlib import Path

from onnx_pare.graph.load import first_line
from onnx_pare.graph.runnable import open_session
from onnx_pare.graph.session import SessionError
from onnx_pare.graph.signature import Signature


def problems(path: Path, before: Signature | None = None, after: Signature | None = None) -> list[str]:
    """Return what is wrong with the model at `path`; nothing if it checks, loads and kept its signature.

    Args:
        path: The ONNX file.
        before: The signature it had to keep.
        after: The signature it has.
    """
    found = []
    if before is not None and after is not None:
        found += _signature_changes(before, after)
    found += _checker(path)
    if not found:
        try:
            open_session(path)
        except SessionError as error:
            found.append(f"onnxruntime does not load it: {error}")
    return found


def _checker(path: Path) -> list[str]:
    import onnx.checker

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            onnx.checker.check_model(str(path))
    except Exception as error:  # ValidationError, and RuntimeError from the C++ side
        return [f"onnx.checker: {first_line(error)}"]
    return []


def _signature_changes(before: Signature, after: Signature) -> list[str]:
    found = []
    for kind, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        if [port.name for port in old] != [port.name for port in new]:
            found.append(f"{kind}s were {[p.name for p in old]}, are {[p.name for p in new]}")
            continue
        for a, b in zip(old, new, strict=True):
            if a.dtype != b.dtype:
                found.append(f"{kind} '{a.name}' was {a.dtype}, is {b.dtype}")
            if a.shape is not None and a.shape != b.shape:
                found.append(f"{kind} '{a.name}' had shape {a.shape}, has {b.shape}")
    return found
