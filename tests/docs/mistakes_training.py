"""Mistakes with modules, optimizers, compiling and calling, each as the few lines that make it; the last is at fault."""

# ruff: noqa: F841
import numpy as np

import graphc
from graphc import nn, optim
from tests.docs.gallery import mistake


@mistake("A list of layers", graphc.GraphError, "Net.layers", "nn.ModuleList")
def list_of_layers():
    class Net(nn.Module):
        def __init__(self):
            self.layers = [nn.Linear(3, 3), nn.Linear(3, 1)]

    net = Net()


@mistake("The result of a module as an array", graphc.NodeUseError, "NumPy cannot read it", "graphc.compile")
def module_of_array():
    net = nn.Linear(3, 1)
    y = np.asarray(net(np.ones((5, 3), "float32")))


@mistake("Names of Keras's layers", AttributeError, "Dense", "nn.Linear")
def keras_layer():
    net = nn.Dense(10)


@mistake("An activation as an option", TypeError, "activation", "nn.ReLU()", "Linear(in_features")
def activation_option():
    net = nn.Linear(784, 10, activation="relu")


@mistake("An activation made of a node", TypeError, "expected ReLU()", "ReLU(...)(x)")
def activation_of_a_node():
    x = graphc.input("x", ("batch", 8))
    y = nn.ReLU(x)


@mistake("A module called with too little", TypeError, "'key' and 'value'", "MultiheadAttention(query, key, value")
def module_without_operands():
    x = graphc.input("x", (5, "batch", 8))
    y = nn.MultiheadAttention(8, 2)(x)


@mistake("Layers chained with the wrong width", graphc.ShapeError, "Linear", "64", "32")
def chain_of_layers():
    x = graphc.input("x", ("batch", 8))
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(64, 1))
    y = net(x)


@mistake("`net.train()` and `net.eval()`", AttributeError, "eval", "graphc.compile", "training")
def eval_mode():
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    net.eval()


@mistake('`net.to("cuda")`', AttributeError, "to", "CPU")
def to_device():
    net = nn.Linear(3, 1)
    net.to("cuda")


@mistake("`net.zero_grad()`", AttributeError, "zero_grad", "graphc.grad")
def module_zero_grad():
    net = nn.Linear(3, 1)
    net.zero_grad()


@mistake("`net.fit(...)`", AttributeError, "fit", "graphc.fit(step")
def module_fit():
    net = nn.Linear(3, 1)
    net.fit(np.ones((5, 3)), np.ones((5, 1)))


@mistake("Assigning to a parameter's value", graphc.AssignmentError, "value", "w.set(")
def assign_value():
    w = graphc.parameter(np.ones(3, "float32"), "w")
    w.value = np.zeros(3)


@mistake("Setting a parameter to another shape", graphc.CallError, "(3,)", "(4,)", "'w'")
def set_shape():
    w = graphc.parameter(np.ones(3, "float32"), "w")
    w.set(np.zeros(4))


@mistake("A checkpoint of another network", graphc.GraphError, "missing", "1.weight", "unknown", "2.weight")
def wrong_state_dict():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    other = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    net.load_state_dict(other.state_dict())


@mistake("A parameter name that is unknown", graphc.GraphError, "functional_call", "weights", "weight, bias")
def wrong_name():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    y = nn.functional_call(net, {"weights": np.zeros((1, 3), "float32")}, x)


@mistake("`optim.Adam(net.parameters())`", graphc.GraphError, "learning rate", "minimize(loss, parameters)")
def parameters_first():
    net = nn.Linear(3, 1)
    adam = optim.Adam(net.parameters())


@mistake("`lr` for the learning rate", TypeError, "lr", "learning_rate")
def lr():
    adam = optim.Adam(lr=1e-3)


@mistake("Assigning to the learning rate", AttributeError, "learning_rate", ".set(number)")
def assign_rate():
    adam = optim.Adam(0.01)
    adam.learning_rate = 0.001


@mistake("A learning rate that is NaN", graphc.GraphError, "learning rate", "nan")
def nan_rate():
    adam = optim.Adam(float("nan"))


@mistake("`optimizer.step()`", AttributeError, "step", "minimize", "graphc.compile")
def optimizer_step():
    adam = optim.Adam(1e-3)
    adam.step()


@mistake("`optimizer.zero_grad()`", AttributeError, "zero_grad", "minimize")
def optimizer_zero_grad():
    adam = optim.Adam(1e-3)
    adam.zero_grad()


@mistake("A loss without parameters", graphc.GraphError, "depends on no parameter", "float32[]")
def nothing_to_train():
    x = graphc.input("x", ("batch",))
    updates = optim.SGD(0.1).minimize(graphc.mean(x))


@mistake("A loss for each example", graphc.GraphError, "scalar", "mean", "float32[batch]")
def loss_per_example():
    x = graphc.input("x", ("batch", 3))
    loss = graphc.sum(graphc.square(nn.Linear(3, 1)(x)), axis=1)
    updates = optim.SGD(0.1).minimize(loss)


@mistake("Training parameters of another network", graphc.GraphError, "does not depend", "parameter")
def other_network():
    x, net, other = graphc.input("x", ("batch", 3)), nn.Linear(3, 1), nn.Linear(3, 1)
    updates = optim.SGD(0.1).minimize(graphc.mean(net(x)), other.parameters())


@mistake("A module where parameters are due", graphc.GraphError, "list of parameters", "parameters()")
def module_as_parameters():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    updates = optim.SGD(0.1).minimize(graphc.mean(net(x)), net)


@mistake("Two updates of one parameter", graphc.GraphError, "two updates", "'w'")
def two_updates():
    w = graphc.parameter(np.ones(3, "float32"), "w")
    first, second = graphc.sum(w), graphc.sum(w * w)
    updates = optim.SGD(0.1).minimize(first) | optim.SGD(0.1).minimize(second)


@mistake("An update of an input", graphc.GraphError, "parameter or a state", "'x'")
def update_of_input():
    x = graphc.input("x", ("batch",))
    f = graphc.compile([x], x, updates={x: x + 1.0})


@mistake("An update of another shape", graphc.GraphError, "another type", "float32[3]", "float32[]")
def update_of_shape():
    w = graphc.parameter(np.ones(3, "float32"), "w")
    f = graphc.compile([], updates={w: graphc.sum(w)})


@mistake("An input that compile does not list", graphc.GraphError, "not among the inputs", "'y'", "first argument")
def unlisted():
    x, y = graphc.input("x", ("batch",)), graphc.input("y", ("batch",))
    f = graphc.compile([x], x + y)


@mistake("Two inputs of one name", graphc.GraphError, "'x'", "rename one")
def one_name():
    a, b = graphc.input("x", ("batch",)), graphc.input("x", ("batch",))
    f = graphc.compile([a, b], a + b)


@mistake("Arrays where inputs are due", graphc.GraphError, "graphc.input", "arrays are for the calls")
def compile_with_arrays():
    x = graphc.input("x", ("batch",))
    f = graphc.compile([np.ones(3)], x + 1.0)


@mistake("Compiling a module", graphc.GraphError, "Linear", "call it")
def compile_module():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    f = graphc.compile([x], net)


@mistake("Forgetting the updates", graphc.GraphError, "updates nothing", "updates=optimizer.minimize(loss)")
def no_updates():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    step = graphc.compile([x], {"loss": graphc.mean(net(x))})
    graphc.fit(step, {x: np.ones((5, 3), "float32")})


@mistake("`fit(net, ...)`", graphc.GraphError, "compiled step", "Linear", "graphc.compile")
def fit_module():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    graphc.fit(net, {x: np.ones((5, 3), "float32")})


STEP = """\
x, y, net = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch", 1)), nn.Linear(3, 1)
loss = nn.mse_loss(net(x), y)
step = graphc.compile([x, y], {"loss": loss}, updates=optim.SGD(0.1).minimize(loss))
"""


@mistake("`fit` with arrays in a tuple", graphc.CallError, "dict", "tuple", "{x: ", before=STEP)
def fit_tuple(step, x, y):
    graphc.fit(step, (np.ones((5, 3)), np.ones((5, 1))))


@mistake("`fit` without an input", graphc.MissingInputError, "missing y", before=STEP)
def fit_missing(step, x, y):
    graphc.fit(step, {x: np.ones((5, 3))})


@mistake("`fit` with different numbers of samples", graphc.CallError, "x has 5", "y has 4", before=STEP)
def fit_lengths(step, x, y):
    graphc.fit(step, {x: np.ones((5, 3)), y: np.ones((4, 1))})


@mistake("A call without an input", graphc.MissingInputError, "missing input 'y'", "(batch, 1)", before=STEP)
def missing_input(step, x, y):
    step(np.ones((5, 3), "float32"))


@mistake("Batch sizes that differ", graphc.CallError, "axis 0 is 4", "batch = 5 by axis 0 of 'x'", before=STEP)
def batch_sizes(step, x, y):
    step(np.ones((5, 3), "float32"), np.ones((4, 1), "float32"))


@mistake("A single example without the batch axis", graphc.CallError, "array[None]", "(batch, 3)", before=STEP)
def no_batch_axis(step, x, y):
    step(np.ones(3, "float32"), np.ones((1, 1), "float32"))


@mistake("A size that was fixed", graphc.CallError, "axis 1 is 4, expected 3", before=STEP)
def fixed_size(step, x, y):
    step(np.ones((5, 4), "float32"), np.ones((5, 1), "float32"))


@mistake("A node given to a call", graphc.DTypeError, "'x'", "expected an array", before=STEP)
def node_in_call(step, x, y):
    step(x, y)


@mistake("Rows of different lengths", graphc.CallError, "'x'", "list", before=STEP)
def ragged(step, x, y):
    step([[1.0, 2.0, 3.0], [1.0, 2.0]], [[0.0], [1.0]])


@mistake("Objects in an array", graphc.DTypeError, "'x'", "float32", "object", before=STEP)
def objects(step, x, y):
    step(np.array([["1", "2", None]], dtype=object), np.ones((1, 1)))


@mistake("Floats for integers", graphc.DTypeError, "'k'", "expected int64, got float64", "astype('int64')")
def floats_for_integers():
    k = graphc.input("k", ("batch",), "int64")
    f = graphc.compile([k], k + 1)
    f(np.array([0.0, 1.0]))


@mistake("A label that is out of range", graphc.IndexOutOfRangeError, "10", "cross_entropy", "example.py:4")
def label_out_of_range():
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch",), "int64")
    net = nn.Linear(3, 10)
    logits = net(x)
    loss = nn.cross_entropy(logits, y)
    f = graphc.compile([x, y], loss)
    f(np.ones((2, 3), "float32"), np.array([0, 10]))


@mistake("A parameter for another executable", graphc.GraphError, "rebind", "not a parameter or state")
def rebind_other():
    w, other = graphc.parameter(np.ones(3, "float32"), "w"), graphc.parameter(np.ones(3, "float32"), "other")
    f = graphc.compile([], w * 2.0)
    f.rebind({other: np.zeros(3, "float32")})
