"""Every op's lowering, read by a small interpreter, gives what its NumPy meaning gives."""

import math
from itertools import product

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.derivatives import grad
from graphc.dims import Axis, Symbol
from graphc.graph import bodies, walk
from graphc.graph.node import Constant
from graphc.graph.reference import run
from graphc.graph.types import TensorType, TupleType
from graphc.loops.expr import Apply, Check, Const, Expr, Index, Load, Loaded, Reduce
from graphc.ops.nested import Item, Nested
from graphc.ops.user import UserFunction
from tests.ops.catalogue import ROWS, Row
from tests.ops.catalogue.random import _philox_word

# The functions of expressions; those that NumPy has by the same name are not listed.
FUNCTIONS = {
    **{"floordiv": np.floor_divide, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal},
    **{"eq": np.equal, "ne": np.not_equal, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor},
    **{"not": np.logical_not, "shift_left": np.left_shift, "shift_right": np.right_shift},
    **{"erf": math.erf, "erfc": math.erfc, "softplus": lambda x: np.logaddexp(x, 0), "rsqrt": lambda x: 1 / np.sqrt(x)},
    "select": lambda condition, yes, no: yes if condition else no,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "normal_cdf": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "normal_pdf": lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "philox": lambda c0, c1, c2, c3, k0, k1, which: np.uint32(
        _philox_word(int(c0) * 4 + int(which), int(k0), int(k1), int(c2) + (int(c3) << 32)) if int(c1) == 0 else 0
    ),
}
COMBINE = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
}


class Interpreter:
    """Runs one body on arrays, index by index."""

    def __init__(self, operands, sizes=None):
        self.operands = operands
        self.sizes = sizes or {}
        self.known = {}

    def dim(self, dim, at):
        if isinstance(dim, int):
            return dim
        total = 0
        for monomial, count in dim.terms:
            for atom, power in monomial:
                if isinstance(atom, Axis):
                    number = at[atom.name]
                elif isinstance(atom, Symbol):
                    number = self.sizes[atom.name]
                elif isinstance(atom, Loaded):
                    number = int(self.value(atom.expr, at))
                else:
                    number = atom.value(tuple(self.dim(part, at) for part in atom.parts()))
                count *= number**power
            total += count
        return total

    def value(self, expr: Expr, at):
        # Parts are shared, so without this a chain of squares would take time exponential in its length.
        key = (expr, *at.values())
        if key not in self.known:
            self.known[key] = self.computed(expr, at)
        return self.known[key]

    def computed(self, expr: Expr, at):
        kind = expr.dtype.numpy.type
        match expr:
            case Const(_, value):
                return kind(value)
            case Index(_, dim):
                return kind(self.dim(dim, at))
            case Load(_, source, index, guard):
                if guard is not None and not self.value(guard, at):
                    return kind(0)
                where = tuple(self.dim(i, at) for i in index)
                shape = self.operands[source].shape
                assert all(0 <= i < n for i, n in zip(where, shape, strict=True)), (where, shape)
                return self.operands[source][where]
            case Apply(_, "cast", (inner,)):
                value = self.value(inner, at)
                if inner.dtype.is_float and expr.dtype.kind in "iu":
                    limits = np.iinfo(kind)
                    value = np.clip(value, float(limits.min), float(limits.max))
                return np.asarray(value).astype(kind)[()]
            case Apply(_, "select", (condition, yes, no)):
                # Guarded loads make both sides safe to compute; what is not chosen must not matter.
                return kind(FUNCTIONS["select"](*(self.value(a, at) for a in (condition, yes, no))))
            case Apply(_, function, args):
                meaning = FUNCTIONS.get(function) or getattr(np, function)
                return kind(meaning(*(self.value(a, at) for a in args)))
            case Check(_, inner, size, _, _):
                index, extent = int(self.value(inner, at)), self.dim(size, at)
                assert -extent <= index < extent
                return index % extent
            case Reduce(_, combiner, over, inner):
                grid = product(*(range(self.dim(a.extent, at)) for a in over))
                values = [self.value(inner, {**at, **{a.name: i for a, i in zip(over, g, strict=True)}}) for g in grid]
                if combiner == "argmax":
                    return kind(np.argmax(values))
                ufunc = COMBINE[combiner]
                return kind(ufunc.reduce(values) if values else ufunc.identity or 0)

    def run(self, body, out):
        result = np.zeros(out.shape, out.dtype.numpy)
        match body:
            case bodies.Compute(axes, value, ordered):
                combiner, axis, reverse = ordered or ("", 0, False)
                order = np.argwhere(np.ones(out.shape, bool))
                for index in map(tuple, order[::-1] if reverse else order):
                    self.known.clear()
                    at = {a.name: int(i) for a, i in zip(axes, index, strict=True)}
                    before = tuple(int(i) + (2 * reverse - 1) * (k == axis) for k, i in enumerate(index))
                    first = ordered is None or not 0 <= before[axis] < out.shape[axis]
                    if combiner == "affine":
                        slope, term = (self.value(part, at) for part in value.args)
                        result[index] = (0 if first else slope * result[before]) + term
                    else:
                        new = self.value(value, at)
                        result[index] = new if first else COMBINE[combiner](result[before], new)
            case bodies.Contract(domain, left, right, to):
                for index in np.ndindex(*(self.dim(axis.extent, {}) for axis in domain)):
                    at = {a.name: i for a, i in zip(domain, index, strict=True)}
                    a, b, c = (tuple(self.dim(i, at) for i in each) for each in (left, right, to))
                    assert min((*a, *b, *c), default=0) >= 0
                    result[c] += self.operands[0][a] * self.operands[1][b]
            case bodies.Scatter():
                for k, index in enumerate(self.operands[0]):
                    result[index] += self.operands[1][k]
            case bodies.Native(function):
                function(result, *self.operands)
            case _:
                raise NotImplementedError(type(body).__name__)
        return result


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_lowering_means_what_numpy_means(row: Row):
    inputs, arrays = row.inputs("float64"), row.draw("float64")
    output = row.build(*inputs)
    wrt = [x for x in inputs if x.dtype.is_float and row.derivable]
    gradients = grad((output * 2.0).sum(), wrt, disconnected="zeros") if wrt else []
    nodes = walk.topological([output, *gradients])
    values = dict(zip(nodes, run(nodes, dict(zip(inputs, arrays, strict=True))), strict=True))
    for node in nodes:
        # What holds a graph or calls a function of another language is left to the tests of compiled rows.
        if node.is_leaf or isinstance(node.op, Constant | Item | Nested | UserFunction):
            continue
        body = node.op.lower(node.type, *(operand.type for operand in node.inputs))
        if isinstance(body, bodies.Native) and (body.scratch or isinstance(node.type, TupleType)):
            continue
        with np.errstate(all="ignore"):
            got = Interpreter([values[operand] for operand in node.inputs]).run(body, node.type)
        np.testing.assert_allclose(got, values[node], rtol=1e-12, atol=1e-12, err_msg=str(node))
        assert all(dims.axes(extent) == set() for extent in node.shape)


SYMBOLIC = {
    "broadcast": lambda x: x + x.sum(0),
    "reshape": lambda x: x.reshape(-1, 12),
    "reshape of two": lambda x: x.T.reshape(3, 2, -1),
    "slice": lambda x: x[1:-1:2, ::-1],
    "pad": lambda x: graphc.pad(x, ((1, 2), (0, 1)), interior=(1, 0)),
    "concat": lambda x: graphc.concat([x, x[1:], x[:1]], 0),
    "stack": lambda x: graphc.stack([x, 2 * x], 1),
    "flip": lambda x: graphc.flip(x),
    "mean": lambda x: x.mean(0),
    "cumulative_sum": lambda x: graphc.cumulative_sum(x, 0, reverse=True),
    "matmul": lambda x: x @ x.T,
    "conv2d": lambda x: graphc.conv2d(x.reshape(1, -1, 6, 1), graphc.ones((3, 2, 1, 2), x.dtype), 2, "same"),
    "conv2d in groups": lambda x: graphc.conv2d(x.reshape(1, -1, 3, 2), graphc.ones((2, 2, 1, 4), x.dtype), 1, 1, 1, 2),
    "conv_transpose1d": lambda x: graphc.conv_transpose1d(x.reshape(1, -1, 6), graphc.ones((3, 2, 6), x.dtype), 2, 1),
    "max_pool2d": lambda x: graphc.max_pool2d(x.reshape(1, -1, 6, 1), (2, 3), 2, 1, ceil_mode=True),
    "avg_pool1d": lambda x: graphc.avg_pool1d(x.reshape(1, -1, 6), 3, 2, 1, True, False),
    "global pooling": lambda x: graphc.adaptive_avg_pool1d(x.reshape(1, -1, 6), 1),
    "adaptive_avg_pool1d": lambda x: graphc.adaptive_avg_pool1d(x.reshape(1, -1, 6), 4),
    "adaptive_max_pool1d": lambda x: graphc.adaptive_max_pool1d(x.reshape(1, -1, 6), 3),
    "unfold": lambda x: graphc.unfold(x.reshape(1, -1, 6), 2, stride=3, padding=1, dilation=2),
    "nearest": lambda x: graphc.interpolate(x.reshape(1, -1, 6), None, 1.5),
    "linear": lambda x: graphc.interpolate(x.reshape(1, -1, 6), 5, mode="linear"),
    "linear to corners": lambda x: graphc.interpolate(x.reshape(1, -1, 6), None, 2, "linear", align_corners=True),
    "pad reflect": lambda x: graphc.pad(x, ((1, 1), (2, 3)), mode="reflect"),
    "one_hot": lambda x: graphc.one_hot(graphc.arange("n"), "n", x.dtype) @ x,
    "take": lambda x: x[graphc.arange("n") - 1],
    "sort": lambda x: graphc.sort(x, 0),
    "tril": lambda x: graphc.tril(x @ x.T),
    "softmax": lambda x: graphc.softmax(x, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SYMBOLIC)
@pytest.mark.parametrize("size", [2, 6, 7])
def test_lowering_of_symbolic_sizes(name, size):
    size = 6 if name == "reshape" else size
    x = graphc.input("x", ("n", 6), "float64")
    array = np.random.default_rng(0).normal(size=(size, 6))
    output = SYMBOLIC[name](x)
    nodes = walk.topological([output, grad((output * output).sum(), x)])
    values = dict(zip(nodes, run(nodes, {x: array}), strict=True))
    for node in nodes:
        if node.is_leaf or isinstance(node.op, Constant):
            continue
        body = node.op.lower(node.type, *(operand.type for operand in node.inputs))
        concrete = TensorType(values[node].shape, node.dtype)
        got = Interpreter([values[operand] for operand in node.inputs], {"n": size}).run(body, concrete)
        np.testing.assert_allclose(got, values[node], rtol=1e-12, atol=1e-12, err_msg=str(node))
