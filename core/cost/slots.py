"""Which inputs hold weights, and which only say how to use them."""

from __future__ import annotations

from collections.abc import Mapping

Slots = Mapping[str, tuple[int, ...]]

# scales, zero points, limits, sampling grids and initial states: constants, but no parameters
NOT_PARAMS: Slots = {
    "Clip": (1, 2),
    "ConvInteger": (2, 3),
    "DequantizeLinear": (1, 2),
    "GRU": (4, 5),
    "LSTM": (4, 5, 6),
    "MatMulInteger": (2, 3),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RNN": (4, 5),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "RoiAlign": (1, 2),
    "Upsample": (1,),
    "com.microsoft:DequantizeLinear": (1, 2),
    "com.microsoft:DynamicQuantizeLSTM": (4, 5, 6, 8, 9, 10, 11),
    "com.microsoft:DynamicQuantizeMatMul": (2, 3),
    "com.microsoft:MatMulIntegerToFloat": (2, 3, 4, 5),
    "com.microsoft:MatMulNBits": (2, 3, 4),
    "com.microsoft:QAttention": (3, 4, 5, 6, 7, 8),
    "com.microsoft:QGemm": (1, 2, 4, 5, 7, 8),
    "com.microsoft:QLinearAdd": (1, 2, 4, 5, 6, 7),
    "com.microsoft:QLinearConv": (1, 2, 4, 5, 6, 7),
    "com.microsoft:QLinearMul": (1, 2, 4, 5, 6, 7),
    "com.microsoft:QuantizeLinear": (1, 2),
}

# integer tensors that are weights all the same -> where their zero point is, -1 if it is 0
QUANTIZED: Mapping[str, Mapping[int, int]] = {
    "ConvInteger": {1: 3},
    "MatMulInteger": {1: 3},
    "QLinearConv": {3: 5, 8: -1},
    "QLinearMatMul": {3: 5},
    "com.microsoft:DynamicQuantizeLSTM": {1: 9, 2: 11},
    "com.microsoft:DynamicQuantizeMatMul": {1: 3},
    "com.microsoft:MatMulInteger16": {1: -1},
    "com.microsoft:MatMulIntegerToFloat": {1: 5},
    "com.microsoft:MatMulNBits": {1: 3},
    "com.microsoft:QAttention": {1: 7},
    "com.microsoft:QGemm": {3: 5, 6: -1},
    "com.microsoft:QLinearAdd": {0: 2, 3: 5},
    "com.microsoft:QLinearConv": {3: 5, 8: -1},
    "com.microsoft:QLinearMul": {0: 2, 3: 5},
}

# where even a single number is a parameter; elsewhere (x · 0.5) it is part of the formula
SCALAR_PARAMS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "PRelu",
        "RMSNormalization",
    }
)
