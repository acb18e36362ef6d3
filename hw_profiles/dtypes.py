"""What kernels compute in, and what becomes of them in another data type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_pare.cost.kernels import Kernel

#: data type -> bytes of an element
SIZE_BYTES: Mapping[str, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
MAIN = "float32"


def computing(kernel: Kernel) -> str:
    """Return what a kernel computes in; indices, masks and text count as float32, which they serve."""
    if kernel.dtype == "uint8":
        return "int8"
    return kernel.dtype if kernel.dtype in SIZE_BYTES else MAIN


def as_dtype(kernel: Kernel, dtype: str) -> Kernel:
    """Return the kernel in another data type, all that it reads and writes stored in it too."""
    ratio = SIZE_BYTES[dtype] / SIZE_BYTES[computing(kernel)]
    return replace(
        kernel,
        dtype=dtype,
        read_bytes=round(kernel.read_bytes * ratio),
        written_bytes=round(kernel.written_bytes * ratio),
        weight_bytes=round(kernel.weight_bytes * ratio),
    )
