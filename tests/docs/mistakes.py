"""Mistakes that are made while a graph is built, each as the few lines that make it; the last of them is at fault.

`gallery` runs the lines as a file of their own, and docs/errors.md shows what they raise.
"""

# ruff: noqa: F841, SIM, E712, RUF005
import math

import numpy as np

import graphc
from graphc import nn
from tests.docs.gallery import mistake


@mistake("Two shapes do not broadcast", graphc.ShapeError, "do not broadcast", "[batch, 3]", "[4]", "operand 1")
def broadcast():
    x = graphc.input("x", ("batch", 3))
    y = x + graphc.input("b", (4,))


@mistake("Inner sizes of a matrix product differ", graphc.ShapeError, "got 784 and 10", "float32[10, 784]")
def matrix_product():
    x = graphc.input("x", ("batch", 784))
    y = x @ graphc.parameter(np.zeros((10, 784), "float32"), "w")


@mistake("An axis that does not exist", graphc.ShapeError, "axis 2 does not exist", "2 dimensions")
def wrong_axis():
    x = graphc.input("x", ("batch", 3))
    y = graphc.sum(x, axis=2)


@mistake("A reshape that does not fit", graphc.ShapeError, "reshape", "[4, 4]", "float32[3, 4]")
def wrong_reshape():
    x = graphc.input("x", (3, 4))
    y = x.reshape(4, 4)


@mistake("Joining what differs in another axis", graphc.ShapeError, "concat", "float32[2, 5]", "operand 1")
def wrong_concat():
    x, y = graphc.input("x", (2, 3)), graphc.input("y", (2, 5))
    z = graphc.concat([x, y], axis=0)


@mistake("Images with the channels first", graphc.ShapeError, "conv2d", "channels", "permute_dims")
def channels_first():
    image = graphc.input("image", ("batch", 3, 32, 32))
    y = graphc.conv2d(image, np.zeros((3, 3, 3, 8), "float32"))


@mistake("A kernel larger than the padded image", graphc.ShapeError, "conv2d", "5 or more", "2 + 1 + 1 = 4")
def large_kernel():
    image = graphc.input("image", ("batch", 2, 8, 3))
    y = graphc.conv2d(image, np.zeros((5, 5, 3, 8), "float32"), padding=1)


@mistake("Channels that groups do not divide", graphc.ShapeError, "conv2d", "6 = 1 * 4 + 2")
def odd_groups():
    image = graphc.input("image", ("batch", 32, 32, 6))
    y = graphc.conv2d(image, np.zeros((3, 3, 3, 8), "float32"), groups=4)


@mistake("A layer of another width", graphc.ShapeError, "Linear", "784", "float32[batch, 28, 28]")
def wrong_width():
    x = graphc.input("x", ("batch", 28, 28))
    y = nn.Linear(784, 10)(x)


@mistake("A dtype that does not exist", graphc.DTypeError, "flaot32", "float32", "int64")
def unknown_dtype():
    x = graphc.input("x", ("batch", 3), "flaot32")


@mistake("Labels that are floats", graphc.DTypeError, "cross_entropy", "integers", "graphc.astype(labels, 'int64')")
def float_labels():
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch",))
    loss = nn.cross_entropy(nn.Linear(3, 10)(x), y)


@mistake("Labels with an axis too many", graphc.ShapeError, "cross_entropy", "int64[batch, 1]", "graphc.squeeze")
def column_of_labels():
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch", 1), "int64")
    loss = nn.cross_entropy(nn.Linear(3, 10)(x), y)


@mistake("A loss between (batch, 1) and (batch,)", graphc.ShapeError, "mse_loss", "float32[batch, 1]", "graphc.squeeze")
def loss_that_would_broadcast():
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch",))
    loss = nn.mse_loss(nn.Linear(3, 1)(x), y)


@mistake("`if` on a node", graphc.NodeUseError, "neither true nor false", "graphc.where", "graphc.cond")
def if_node():
    x = graphc.input("x", ())
    if x > 0:
        x = -x


@mistake("Comparing nodes in a condition", graphc.NodeUseError, "neither true nor false", "`is`")
def if_equal():
    x, y = graphc.input("x", ()), graphc.input("y", ())
    same = "yes" if x == y else "no"


@mistake("Looking for a node in a list", graphc.NodeUseError, "neither true nor false", "`is`")
def in_list():
    x, y = graphc.input("x", ()), graphc.input("y", ())
    found = y in [x, y]


@mistake("Iterating over a node", graphc.NodeUseError, "cannot be iterated", "graphc.scan")
def iterate():
    series = graphc.input("series", ("time", 3))
    rows = [row * 2 for row in series]


@mistake("`range` over a symbolic size", graphc.NodeUseError, "time", "graphc.scan")
def range_symbol():
    series = graphc.input("series", ("time", 3))
    total = sum(series[t] for t in range(series.shape[0]))


@mistake("The len() of a node", graphc.NodeUseError, "no len()", ".shape")
def length():
    series = graphc.input("series", ("time", 3))
    mean = graphc.sum(series) / len(series)


@mistake("A number out of a node", graphc.NodeUseError, "float()", "eval", "graphc.compile")
def as_float():
    x = graphc.input("x", ("batch",))
    print(float(graphc.mean(x)))


@mistake("A node as a Python index", graphc.NodeUseError, "Python index", "graphc.take")
def as_index():
    k = graphc.input("k", (), "int64")
    word = ["a", "b", "c"][k]


@mistake("An integer out of a node", graphc.NodeUseError, "int()", "graphc.compile", "astype")
def as_int():
    x = graphc.input("x", ())
    n = int(x)


@mistake("`.numpy()`", AttributeError, "numpy", "eval", "graphc.compile")
def to_numpy():
    x = graphc.input("x", ("batch",))
    array = graphc.exp(x).numpy()


@mistake("`.item()`", AttributeError, "item", "eval", "graphc.compile")
def to_item():
    x = graphc.input("x", ("batch",))
    loss = graphc.mean(x).item()


@mistake("`loss.backward()`", AttributeError, "backward", "graphc.grad", "minimize")
def backward():
    w = graphc.parameter(np.ones(3, "float32"), "w")
    graphc.sum(w * w).backward()


@mistake("`.detach()`", AttributeError, "detach", "graphc.stop_gradient")
def detach():
    x = graphc.input("x", ("batch",))
    y = x.detach()


@mistake("`.cuda()` and `.to(device)`", AttributeError, "cuda", "CPU")
def cuda():
    x = graphc.input("x", ("batch",))
    y = x.cuda()


@mistake("`.requires_grad`", AttributeError, "requires_grad", "trainable", "graphc.grad")
def requires_grad():
    x = graphc.input("x", ("batch",))
    y = x.requires_grad


@mistake("`.size()` and `.view()`", AttributeError, "view", "reshape")
def view():
    x = graphc.input("x", ("batch", 4))
    y = x.view(-1)


@mistake("Functions of NumPy", graphc.NodeUseError, "numpy.exp", "graphc.exp")
def numpy_function():
    x = graphc.input("x", ("batch",))
    y = np.exp(x)


@mistake("Functions of `math`", graphc.NodeUseError, "float()", "graphc", "math")
def math_function():
    x = graphc.input("x", ())
    y = math.sqrt(x)


@mistake("Options of other frameworks", TypeError, "keepdim", "keepdims", "sum(axis=None")
def other_options():
    x = graphc.input("x", (3, 4))
    x.sum(axis=1, keepdim=True)


@mistake("A dtype in the place of keepdims", TypeError, "expected keepdims of sum(", "True or False", "'float64'")
def dtype_for_a_flag():
    x = graphc.input("x", (3, 4))
    graphc.sum(x, 0, "float64")


@mistake("Assigning to an attribute of a node", AttributeError, "nodes never change", "float32[3]")
def assign_attribute():
    x = graphc.input("x", (3,))
    x.shape = (1, 3)


@mistake("Names of other frameworks", AttributeError, "no_grad", "graphc.grad")
def other_names():
    with graphc.no_grad():
        x = graphc.input("x", ("batch",))


@mistake("Arrays as tensors", AttributeError, "tensor", "graphc.constant", "graphc.input")
def tensor():
    x = graphc.tensor([1.0, 2.0, 3.0])


@mistake("Assigning to elements", graphc.NodeUseError, "assigned", "graphc.where")
def assign():
    x = graphc.input("x", (3,))
    x[0] = 1.0


@mistake("Choosing by a mask", graphc.DTypeError, "mask", "graphc.where")
def mask():
    x = graphc.input("x", ("batch",))
    y = x[x > 0]


@mistake("An index that is out of range", IndexError, "index 3", "size 3")
def constant_index():
    x = graphc.input("x", (3,))
    y = x[3]


@mistake("A node inside an array", graphc.NodeUseError, "NumPy cannot read it", "graphc.stack")
def array_of_nodes():
    x, y = graphc.input("x", ()), graphc.input("y", ())
    both = np.array([x, y])


@mistake("A Python random number as noise", graphc.GraphcError, "graphc.normal")
def random_size():
    x = graphc.input("x", ("batch", 3))
    noisy = x + np.random.default_rng(0).normal(size=x.shape)


@mistake("The gradient of what is no scalar", graphc.GraphError, "scalar", "cotangent", "mean")
def vector_loss():
    x = graphc.input("x", ("batch", 3))
    slope = graphc.grad(graphc.square(x), x)


@mistake("The gradient by integers", graphc.DTypeError, "int64", "float")
def integer_gradient():
    n = graphc.input("n", ("batch",), "int64")
    slope = graphc.grad(graphc.sum(n * 1.5), n)


@mistake("The gradient by what the loss does not read", graphc.GraphError, "does not depend", 'disconnected="zeros"')
def disconnected():
    x, y = graphc.input("x", ("batch",)), graphc.input("y", ("batch",))
    slope = graphc.grad(graphc.sum(x), y)


@mistake("A carry that changes its shape", graphc.ShapeError, "carry", "float32[2, 3]", "float32[3]")
def carry_shape():
    xs = graphc.input("xs", ("time", 2, 3))
    result = graphc.scan(lambda state, x: (state + x, state), graphc.zeros((3,)), xs)


@mistake("A carry that changes its dtype", graphc.DTypeError, "carry", "int64", "float32")
def carry_dtype():
    xs = graphc.input("xs", ("time",))
    result = graphc.scan(lambda state, x: (state + x, state), graphc.constant(0), xs)


@mistake("Branches of different types", graphc.GraphcError, "cond", "float32[3]", "float32[]")
def branches():
    x = graphc.input("x", (3,))
    y = graphc.cond(graphc.sum(x) > 0, lambda: x, lambda: graphc.sum(x))


@mistake("What belongs to a loop, outside of it", graphc.GraphError, "scan", "return what is needed")
def leaked():
    kept = []
    xs = graphc.input("xs", ("time",))
    result = graphc.scan(lambda state, x: (state + x, kept.append(x) or x), graphc.constant(0.0), xs)
    f = graphc.compile([xs], kept[0])
