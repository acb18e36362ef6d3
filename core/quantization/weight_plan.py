"""Choosing how one weight is stored: in which form, with which blocks, and what that asks of the opset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from onnx_pare.quantization.levels import Kind
from onnx_pare.quantization.nbits import BLOCKS, fits, supported
from onnx_pare.quantization.stored_weights import NARROW_OPSET, Layout, casts_4_bits, per_output_axis
from onnx_pare.quantization.weight_only import even_block

if TYPE_CHECKING:
    import onnx_ir as ir

Format = Literal["cast", "dequantize", "matmulnbits"]
# default block sizes; None: one scale per output
_BLOCK = {4: 32, 8: None}
_NBITS_BLOCK = {4: 32, 8: 128}
# in onnxruntime 1.32 smaller matrices are as fast in float (`auto`)
_NBITS_MIN_ELEMENTS = 1 << 14


@dataclass(frozen=True)
class Wanted:
    """What the user asks for; `block_size` "channel" is one scale per output, None the default."""

    bits: int
    levels: Kind
    block_size: int | Literal["channel"] | None
    format: Literal["auto", "cast", "dequantize", "matmulnbits"]


@dataclass(frozen=True)
class Storage:
    """How a weight is stored: its format, and how many inputs share a scale."""

    format: Format
    block: int
    bits: int
    layout: Layout

    @property
    def size_bytes(self) -> int:
        """The size of codes and scales, in bytes."""
        rows, columns = self.layout.matrix
        blocks = -(-columns // self.block)
        return rows * blocks * 4 + -(-rows * blocks * self.block * self.bits // 8)

    @property
    def opset(self) -> int:
        """The oldest default opset that has what restores the weight."""
        if self.format == "matmulnbits":
            return 1
        if self.bits == 4:
            return NARROW_OPSET
        if self.format == "cast":
            return 10  # Slice with computed ends
        whole = self.block == self.layout.matrix[1] and per_output_axis(self.layout) is not None
        return 13 if whole else NARROW_OPSET


def storage_of(value: ir.Value, layout: Layout, wanted: Wanted) -> Storage:
    """Return how a weight is stored."""
    columns = layout.matrix[1]
    if _as_nbits(value, layout, wanted):
        return Storage("matmulnbits", _nbits_block(columns, wanted), wanted.bits, layout)
    size = wanted.block_size or _BLOCK[wanted.bits]
    block = even_block(columns, size) if isinstance(size, int) else columns
    return Storage(_float_format(wanted), block, wanted.bits, layout)


def _float_format(wanted: Wanted) -> Format:
    """Return how floats are restored: by DequantizeLinear also if onnxruntime casts no 4-bit integers."""
    loads = wanted.bits == 8 or wanted.levels == "log" or wanted.format == "cast" or casts_4_bits()
    return "dequantize" if wanted.format == "dequantize" or not loads else "cast"


def _as_nbits(value: ir.Value, layout: Layout, wanted: Wanted) -> bool:
    if wanted.format not in ("auto", "matmulnbits") or wanted.levels != "uniform":
        return False
    if wanted.block_size not in (None, *BLOCKS) or not fits(value):
        return False
    rows, columns = layout.matrix
    small = rows * columns < _NBITS_MIN_ELEMENTS
    return not (wanted.format == "auto" and small) and supported(wanted.bits)


def _nbits_block(columns: int, wanted: Wanted) -> int:
    """Return the block size asked for, halved while one block holds more than twice the inputs there are."""
    block = wanted.block_size if isinstance(wanted.block_size, int) else _NBITS_BLOCK[wanted.bits]
    while block > BLOCKS[0] and block // 2 >= columns:
        block //= 2
    return block
