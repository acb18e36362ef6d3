"""The class of each operator that has one whatever its shapes are (`op_classes` says what they hold)."""

from __future__ import annotations

from collections.abc import Mapping

_ONNX: Mapping[str, str] = {
    "recurrent": "GRU LSTM RNN",
    "attention": "Attention LinearAttention",
    "normalization": """
        BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization
        LpNormalization MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization
    """,
    "softmax": "Hardmax LogSoftmax Softmax",
    "pool": "AveragePool LpPool MaxPool MaxRoiPool MaxUnpool",
    "reduce": """
        ArgMax ArgMin CumProd CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool
        NegativeLogLikelihoodLoss ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
        ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare SoftmaxCrossEntropyLoss
    """,
    "resize": "AffineGrid GridSample Resize RoiAlign Upsample",
    "quantize": "DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
    "search": """
        Compress Det ImageDecoder Multinomial NonMaxSuppression NonZero RegexFullMatch StringConcat
        StringNormalizer StringSplit TfIdfVectorizer TopK Unique
    """,
    "transform": "DFT STFT",
    "control": "If Loop Scan SequenceMap",
    "function": """
        Acos Acosh Asin Asinh Atan Atanh Bernoulli BlackmanWindow Celu Cos Cosh Elu Erf Exp Gelu
        HammingWindow HannWindow HardSigmoid HardSwish Log Mish Pow RandomNormal RandomNormalLike
        RandomUniform RandomUniformLike RotaryEmbedding Selu Sigmoid Sin Sinh Softplus Softsign Sqrt
        SwiGLU Swish Tan Tanh
    """,
    "copy": """
        CenterCropPad Col2Im Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Dropout
        Expand EyeLike Flatten Gather GatherElements GatherND Identity MelWeightMatrix OneHot
        Optional OptionalGetElement OptionalHasElement Pad Range Reshape ReverseSequence Scatter
        ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase
        SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze
        TensorScatter Tile Transpose Trilu Unsqueeze
    """,
    "elementwise": """
        Abs Add And BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
        Clip Div Equal Floor Greater GreaterOrEqual IsInf IsNaN LeakyRelu Less LessOrEqual Max Mean
        Min Mod Mul Neg Not Or PRelu Reciprocal Relu Round Shrink Sign Sub Sum ThresholdedRelu Where
        Xor
    """,
}
_MICROSOFT: Mapping[str, str] = {
    "recurrent": "DynamicQuantizeLSTM",
    "attention": """
        Attention DecoderAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention
        GatedDeltaNet GroupQueryAttention LinearAttention LongformerAttention MultiHeadAttention
        PackedAttention PackedMultiHeadAttention PagedAttention QAttention QOrderedAttention
        SparseAttention
    """,
    "normalization": """
        EmbedLayerNormalization GatedRMSNorm GroupNorm QEmbedLayerNormalization
        QOrderedLayerNormalization RMSNormRotary SkipGroupNorm SkipLayerNormalization
        SkipSimplifiedLayerNormalization
    """,
    "softmax": "BiasSoftmax QLinearSoftmax",
    "pool": "MaxpoolWithMask NhwcMaxPool QLinearAveragePool",
    "reduce": "QLinearGlobalAveragePool QLinearReduceMean ReduceSumInteger",
    "resize": "CropAndResize GridSample",
    "quantize": """
        DequantizeBFP DequantizeLinear DequantizeWithOrder DynamicQuantizeLinear QuantizeBFP
        QuantizeLinear QuantizeWithOrder
    """,
    "search": "NGramRepeatBlock Tokenizer Unique",
    "transform": "Irfft Rfft",
    "function": """
        BiasGelu BiasSplitGelu FastGelu Gelu GemmaRotaryEmbedding MRotaryEmbedding QLinearSigmoid
        QOrderedGelu QuickGelu RotaryEmbedding ScaledSiLU SwiGLU
    """,
    "copy": """
        ExpandDims GatherBlockQuantized GatherND Pad QLinearConcat Range RelativePositionBias
        RemovePadding RestorePadding TorchEmbedding Trilu UnfoldTensor
    """,
    "elementwise": """
        BiasAdd BiasDropout BitmaskBiasDropout BitmaskDropout ComplexMul ComplexMulConj GatedAdd
        IsAllFinite MulInteger QLinearAdd QLinearLeakyRelu QLinearMul QLinearWhere
    """,
}
_CLASSIC: Mapping[str, str] = {
    "search": """
        ArrayFeatureExtractor CategoryMapper DictVectorizer LabelEncoder OneHotEncoder TreeEnsemble
        TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
    """,
    "elementwise": "Binarizer CastMap Imputer Scaler",
    "copy": "FeatureVectorizer",
    "normalization": "Normalizer",
    "linear": "LinearClassifier LinearRegressor SVMClassifier SVMRegressor",
}

CLASS_OF: Mapping[str, str] = {
    f"{domain}{name}": kind
    for domain, table in (("", _ONNX), ("com.microsoft:", _MICROSOFT), ("ai.onnx.ml:", _CLASSIC))
    for kind, names in table.items()
    for name in names.split()
} | {"ai.onnx.preview:FlexAttention": "attention"}
