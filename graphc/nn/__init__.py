"""Modules, activations, losses and initial values, with the names, defaults and numerics of PyTorch."""

import sys
from typing import TYPE_CHECKING, NoReturn

from graphc.graph.elsewhere import OF_NN
from graphc.nn import init
from graphc.nn.activation import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    selu,
    silu,
    softplus,
)
from graphc.nn.attention import (
    scaled_dot_product_attention,
)
from graphc.nn.cells import (
    GRUCell,
    LSTMCell,
    RNNCell,
)
from graphc.nn.channels import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    batch_norm,
    group_norm,
    instance_norm,
)
from graphc.nn.containers import (
    ModuleDict,
    ModuleList,
    Residual,
    Sequential,
)
from graphc.nn.convolution import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
)
from graphc.nn.criterion import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    CTCLoss,
    GaussianNLLLoss,
    HingeEmbeddingLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    QuantileLoss,
    SmoothL1Loss,
    TripletMarginLoss,
)
from graphc.nn.ctc import (
    ctc_loss,
)
from graphc.nn.embedding import (
    Embedding,
    embedding,
)
from graphc.nn.linear import (
    Bilinear,
    Linear,
    bilinear,
    linear,
)
from graphc.nn.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    kl_div,
    nll_loss,
)
from graphc.nn.module import (
    Module,
    functional_call,
)
from graphc.nn.multihead import (
    MultiheadAttention,
)
from graphc.nn.normalization import (
    LayerNorm,
    RMSNorm,
    layer_norm,
    rms_norm,
)
from graphc.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
    Upsample,
)
from graphc.nn.positional import (
    PositionEmbedding,
    SinePositionEncoding,
    rotary_embedding,
    sinusoidal_positions,
)
from graphc.nn.recurrent import (
    GRU,
    LSTM,
    RNN,
)
from graphc.nn.regression import (
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    quantile_loss,
    smooth_l1_loss,
)
from graphc.nn.shape import (
    Flatten,
    Identity,
)
from graphc.nn.similarity import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    pairwise_distance,
    triplet_margin_loss,
)
from graphc.nn.stochastic import (
    Dropout,
    Dropout1d,
    Dropout2d,
    dropout,
    dropout1d,
    dropout2d,
)
from graphc.nn.transformer import (
    SwiGLU,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
from graphc.ops.activation import relu, sigmoid
from graphc.ops.reduction import log_softmax, softmax
from graphc.ops.trigonometric import tanh
from graphc.origin import refuse_attribute

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "CTCLoss",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianNLLLoss",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
    "PositionEmbedding",
    "QuantileLoss",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinePositionEncoding",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "SwiGLU",
    "Tanh",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "Upsample",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "elu",
    "embedding",
    "functional_call",
    "gaussian_nll_loss",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "init",
    "instance_norm",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mish",
    "mse_loss",
    "nll_loss",
    "pairwise_distance",
    "prelu",
    "quantile_loss",
    "relu",
    "rms_norm",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "sinusoidal_positions",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
    "triplet_margin_loss",
]

if not TYPE_CHECKING:  # A type checker is to report names that there are not.

    def __getattr__(name: str) -> NoReturn:
        """Say what a name of another framework is here."""
        refuse_attribute(sys.modules[__name__], name, OF_NN)
