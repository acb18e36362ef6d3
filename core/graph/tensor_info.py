"""Element type and shape of a tensor, and how ONNX writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from onnx_pare.graph.signature import DTYPE_NAMES

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


@dataclass(frozen=True)
class TensorInfo:
    """Element type (`float32`, `int8`, …, as in `Port`) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """The size in bytes; four-bit types take half a byte an element, strings are counted as 0."""
        return math.ceil(self.elements * _itemsize_bytes(self.dtype))


def dtype_name(dtype: ir.DataType) -> str:
    """Return the name used in reports: `float32`, `int8`, `string`, …."""
    return DTYPE_NAMES.get(dtype.name, dtype.name.lower())


def is_concrete(kind: onnx.TypeProto) -> bool:
    """Return whether it is a tensor type with a known element type and only numbers for dimensions."""
    tensor = kind.tensor_type
    return (
        kind.WhichOneof("value") == "tensor_type"
        and tensor.elem_type != 0
        and tensor.HasField("shape")
        and all(dim.WhichOneof("value") == "dim_value" for dim in tensor.shape.dim)
    )


def from_type(kind: onnx.TypeProto) -> TensorInfo:
    """Read a concrete tensor type."""
    dims = tuple(dim.dim_value for dim in kind.tensor_type.shape.dim)
    return TensorInfo(_name(kind.tensor_type.elem_type), dims)


def to_type(info: TensorInfo) -> onnx.TypeProto:
    """Write a concrete tensor type."""
    return tensor_type(int(_data_type(info.dtype)), info.shape)


def tensor_type(elem_type: int, shape: Iterable[int]) -> onnx.TypeProto:
    """Write a tensor type; `elem_type` is ONNX's number for it."""
    from onnx import helper

    return helper.make_tensor_type_proto(elem_type, tuple(shape))


@cache
def _name(elem_type: int) -> str:
    import onnx_ir as ir

    return dtype_name(ir.DataType(elem_type))


@cache
def _data_type(dtype: str) -> ir.DataType:
    import onnx_ir as ir

    names = {spelled: name for name, spelled in DTYPE_NAMES.items()}
    return ir.DataType[names.get(dtype, dtype.upper())]


@cache
def _itemsize_bytes(dtype: str) -> float:
    import onnx_ir as ir

    kind = _data_type(dtype)
    return 0.0 if kind == ir.DataType.STRING else float(kind.itemsize)
