"""Operators that by definition do no multiply-accumulates (see `macs`)."""

from __future__ import annotations

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf
    Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Less
    LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu
    Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum SwiGLU Swish Tan Tanh
    ThresholdedRelu Where Xor
"""
_NORMALIZATION = """
    BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization
    MeanVarianceNormalization RMSNormalization RotaryEmbedding SimplifiedLayerNormalization
"""
_REDUCTION = """
    ArgMax ArgMin CumProd CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK NegativeLogLikelihoodLoss
    SoftmaxCrossEntropyLoss
"""
_POOLING = """
    AffineGrid AveragePool Col2Im GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample LpPool MaxPool
    MaxRoiPool MaxUnpool Resize RoiAlign Upsample
"""
_MOVING = """
    Bernoulli BlackmanWindow CenterCropPad Compress Concat ConcatFromSequence Constant ConstantOfShape
    DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND HammingWindow HannWindow
    MelWeightMatrix Multinomial NonMaxSuppression NonZero OneHot Optional OptionalGetElement
    OptionalHasElement Pad RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range
    RegexFullMatch Reshape ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct
    SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split
    SplitToSequence Squeeze StringConcat StringNormalizer StringSplit TensorScatter Tile Transpose Trilu
    Unique Unsqueeze
"""
_MICROSOFT = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BitmaskBiasDropout BitmaskDropout ComplexMul
    ComplexMulConj CropAndResize DequantizeBFP DequantizeLinear DequantizeWithOrder DynamicQuantizeLinear
    EmbedLayerNormalization ExpandDims FastGelu GatedAdd GatedRMSNorm GatherBlockQuantized GatherND Gelu
    GemmaRotaryEmbedding GridSample GroupNorm IsAllFinite MRotaryEmbedding MaxpoolWithMask MulInteger
    NGramRepeatBlock NhwcMaxPool Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    QLinearWhere QOrderedGelu QOrderedLayerNormalization QuantizeBFP QuantizeLinear QuantizeWithOrder
    QuickGelu RMSNormRotary Range ReduceSumInteger RelativePositionBias RemovePadding RestorePadding
    RotaryEmbedding ScaledSiLU SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization SwiGLU
    Tokenizer TorchEmbedding Trilu UnfoldTensor Unique
"""
_CLASSIC = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer
    LabelEncoder Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
    ZipMap
"""

ZERO_MACS = frozenset(
    f"{domain}{name}"
    for domain, names in (
        ("", _ELEMENTWISE + _NORMALIZATION + _REDUCTION + _POOLING + _MOVING),
        ("com.microsoft:", _MICROSOFT),
        ("ai.onnx.ml:", _CLASSIC),
    )
    for name in names.split()
)
