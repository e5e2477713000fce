"""graphc: a compiler for computation graphs, and for training them."""

from graphc.compiler import Executable, compile
from graphc.derivatives import grad, hessian, hvp, jacobian, jvp, substitute, vjp, vmap
from graphc.dims import symbol
from graphc.dtypes import (
    DType,
    bool_,
    default_dtype,
    float32,
    float64,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint32,
)
from graphc.errors import (
    CallError,
    CompileError,
    DTypeError,
    GraphcError,
    GraphcWarning,
    GraphError,
    IndexOutOfRangeError,
    MissingInputError,
    NodeUseError,
    PlanMemoryError,
    ShapeError,
    VerificationError,
)
from graphc.graph.graph import Graph
from graphc.graph.node import Input, Node, Parameter, State, constant, input, parameter, state
from graphc.graph.reference import evaluate
from graphc.graph.types import TensorType, TupleType
from graphc.ops.comparison import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    where,
)
from graphc.ops.contraction import conv2d, einsum, matmul
from graphc.ops.control import cond, item, map, scan
from graphc.ops.creation import full, ones, ones_like, zeros, zeros_like
from graphc.ops.elementwise import (
    abs,
    add,
    astype,
    clip,
    divide,
    exp,
    floor,
    floor_divide,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    remainder,
    result_type,
    sigmoid,
    sign,
    sqrt,
    square,
    subtract,
    tanh,
)
from graphc.ops.gradient_control import stop_gradient, training, with_update
from graphc.ops.indexing import one_hot, repeat, scatter_add, take, take_along_axis
from graphc.ops.movement import (
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    pad,
    permute_dims,
    reshape,
    squeeze,
    stack,
)
from graphc.ops.native import argsort, native, sort
from graphc.ops.positions import arange, eye, size, tril, triu
from graphc.ops.random import bernoulli, normal, seed, uniform
from graphc.ops.reduction import (
    all,
    argmax,
    argmin,
    cumulative_sum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    softmax,
    std,
    sum,
    var,
)
from graphc.ops.reduction import any_ as any
