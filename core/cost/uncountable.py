"""Operators whose multiply-accumulates no shape tells, each with the reason that `pare inspect` gives."""

from __future__ import annotations

from collections.abc import Mapping

_REASONS: Mapping[str, str] = {
    "its multiplications depend on the algorithm": """
        DFT Det STFT com.microsoft:Inverse com.microsoft:Irfft com.microsoft:Rfft
    """,
    "how much it does depends on the data": """
        ImageDecoder TfIdfVectorizer com.microsoft:DynamicTimeWarping com.microsoft:GatedDeltaNet
        com.microsoft:LongformerAttention com.microsoft:PackedAttention
        com.microsoft:PackedMultiHeadAttention com.microsoft:PagedAttention com.microsoft:SparseAttention
        com.microsoft:SparseToDenseMatMul
    """,
    "it runs a model until the data say stop": """
        com.microsoft:BeamSearch com.microsoft:GreedySearch com.microsoft:Sampling
        com.microsoft:WhisperBeamSearch
    """,
    "its model is compiled for one device": "com.microsoft:EPContext com.microsoft:Snpe",
    "it trains": """
        ai.onnx.preview.training:Adagrad ai.onnx.preview.training:Adam ai.onnx.preview.training:Gradient
        ai.onnx.preview.training:Momentum
    """,
}
UNCOUNTABLE: Mapping[str, str] = {op: why for why, names in _REASONS.items() for op in names.split()}
