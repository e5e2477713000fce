"""What the reference states of every op is there, and holds: code in it is run beside the op."""

import importlib.util
import inspect
import re

import numpy as np
import pytest
import scipy.special

import graphc
from graphc.graph.structure import leaves, map_leaves
from tests.docs.facts import LABELS, facts
from tests.docs.reference import ops
from tests.docs.samples import RULES, sample

OPS = ops()
# Code is run beside functions; layers are made of them, and tests/nn hold them against PyTorch.
FUNCTIONS = {name: facts(value) for name, value in OPS.items() if inspect.isfunction(value)}
ASSIGNED = re.compile(r"`(\w+) = ([^`]*)`")
SLOPE = re.compile(r"by (\w+) `([^`]*)`")
NAMES = re.compile(r"`(\w+(?:\.\w+)+)`")
# Sources that need not be installed where the tests run.
OPTIONAL = {"jax", "optax", "torch"}


def eager(function):
    """Let a function of graphc take and give arrays."""
    return lambda *args, **options: graphc.evaluate(function(*args, **options))


def vocabulary():
    """What code in the reference may call: NumPy first, and what it has not from SciPy or graphc."""
    known = {name: eager(value) for name, value in vars(graphc).items() if inspect.isfunction(value)}
    matrices = ("inv", "solve", "cholesky", "eigh", "qr", "slogdet", "svd")
    known |= vars(np) | {name: getattr(np.linalg, name) for name in matrices}
    return known | {"erf": scipy.special.erf, "slice": slice, "tuple": tuple, "zip": zip, "len": len}


KNOWN = vocabulary()


class Call:
    """One call of an op on its sample: inputs in the place of arrays."""

    def __init__(self, name, keepdims=False):
        self.function = OPS[name]
        self.given = sample(name, self.function)
        self.inputs = {}
        arguments = {key: self._fed(key, value) for key, value in self.given.items()}
        if keepdims and "keepdims" in inspect.signature(self.function).parameters:
            arguments["keepdims"] = True
        self.output = self.function(**arguments)
        self.feeds = {node: array for node, array in self.inputs.values()}
        defaults = {key: one.default for key, one in inspect.signature(self.function).parameters.items()}
        self.names = KNOWN | defaults | self.given
        if isinstance(self.output, np.ndarray):  # as initial values are
            self.out = self.output
        else:
            self.out = graphc.evaluate(self.output, {**self.feeds, graphc.training(): True})
        self.names["out"] = self.out

    def _fed(self, key, value):
        if isinstance(value, list) and all(isinstance(one, np.ndarray) for one in value):
            return [self._fed(f"{key}[{k}]", one) for k, one in enumerate(value)]
        if not isinstance(value, np.ndarray):
            return value
        self.inputs[key] = (graphc.input(f"i{len(self.inputs)}", value.shape, value.dtype), value)
        return self.inputs[key][0]

    def assign(self, text):
        """Take over what a fact says behind "with"; the last is what the others are made of."""
        for key, code in reversed(ASSIGNED.findall(text)):
            self.names[key] = self.run(code)

    def run(self, code):
        return eval(code, dict(self.names))


@pytest.mark.parametrize("name", OPS)
def test_an_op_states_its_shape_formula_gradient_and_source(name):
    missing = [label for label in LABELS if label not in facts(OPS[name])]
    assert not missing, f"{name}: say {', '.join(missing)} in its docstring (see tests/docs/facts.py)"


@pytest.mark.parametrize("name", [name for name in OPS if "`" in facts(OPS[name]).get("Source", "")])
def test_a_source_exists(name):
    for path in NAMES.findall(facts(OPS[name])["Source"]):
        parts = path.split(".")
        if parts[0] in OPTIONAL and importlib.util.find_spec(parts[0]) is None:
            continue
        found = importlib.import_module(parts[0])
        for part in parts[1:]:
            try:
                found = getattr(found, part)
            except AttributeError:
                found = importlib.import_module(f"{found.__name__}.{part}")


@pytest.mark.parametrize("name", [name for name, said in FUNCTIONS.items() if "->" in said.get("Shape", "")])
def test_a_shape_rule_holds(name):
    call = Call(name)
    left, right = re.search(r"`([^`]*->[^`]*)`", FUNCTIONS[name]["Shape"])[1].split("->")
    sizes, loops = {}, []
    operands = [value.shape for value in call.given.values() if isinstance(value, np.ndarray)]
    rules = re.findall(r"\(([^)]*)\)", left)
    for rule, shape in zip(rules, operands, strict=True):
        matched(rule, shape, sizes, loops)
    around = np.broadcast_shapes(*loops)
    for rule, one in zip(re.findall(r"\(([^)]*)\)", right), leaves(call.out), strict=True):
        matched(rule, np.shape(one), sizes, own := [])
        assert own in ([], [around]), name
    for size, formulas in sizes.items():
        for formula, value in formulas:
            known = {key: one[0][1] for key, one in sizes.items() if key.isidentifier()}
            arguments = {key: one for key, one in call.names.items() if isinstance(one, int)}
            if not formula.isidentifier():
                assert eval(formula, {**arguments, **known}) == value, (name, formula)
            elif formula in arguments:
                assert arguments[formula] == value, (name, formula)
            else:
                assert value == sizes[size][0][1], (name, formula)


def matched(rule, shape, sizes, loops):
    """Take a shape apart by a rule as "..., n, m": note what `...` stands for, and the size of each letter."""
    tokens = [token.strip().replace("'", "_") for token in rule.split(",")] if rule else []
    if "..." in tokens:
        at = tokens.index("...")
        behind = len(shape) - (len(tokens) - at - 1)
        loops.append(tuple(shape[at:behind]))
        shape, tokens = shape[:at] + shape[behind:], tokens[:at] + tokens[at + 1 :]
    assert len(tokens) == len(shape), (rule, shape)
    for token, size in zip(tokens, shape, strict=True):
        sizes.setdefault(token, []).append((token, size))


@pytest.mark.parametrize("name", [name for name, said in FUNCTIONS.items() if said.get("Formula", "").startswith("`")])
def test_a_formula_is_the_op(name):
    call = Call(name)
    text = FUNCTIONS[name]["Formula"]
    call.assign(text)
    wanted = call.run(code := text.split("`")[1])
    for got, one in zip(leaves(call.out), leaves(list(wanted) if isinstance(wanted, tuple) else wanted), strict=True):
        assert np.shape(got) == np.broadcast_shapes(np.shape(one), np.shape(got)), code
        np.testing.assert_allclose(
            np.asarray(got, "float64"), np.broadcast_to(one, np.shape(got)), rtol=1e-6, atol=1e-12
        )


@pytest.mark.parametrize("name", [name for name, said in FUNCTIONS.items() if SLOPE.search(said.get("Gradient", ""))])
def test_a_gradient_is_the_slope(name):
    call = Call(name, keepdims=True)
    text = FUNCTIONS[name]["Gradient"]
    generator = np.random.default_rng(1)
    weights = map_leaves(lambda value: generator.uniform(-1, 1, np.shape(value)), call.out)
    pairs = zip(leaves(call.output), leaves(weights), strict=True)
    total = sum(((node * weight).sum() for node, weight in pairs if node.dtype.is_float), graphc.constant(0.0))
    call.names["g"] = weights
    call.assign(text)
    floats = {key.partition("[")[0] for key, (node, _) in call.inputs.items() if node.dtype.is_float}
    assert {key for key, _ in SLOPE.findall(text)} == floats, f"{name}: say what each operand's gradient is"
    for key, code in SLOPE.findall(text):
        found = call.run(code)
        stated = found if isinstance(call.given[key], list) else [found]
        ways = [at for at in call.inputs if at.partition("[")[0] == key]
        for at, one in zip(ways, stated, strict=True):
            node, array = call.inputs[at]
            if name in RULES:
                wanted = graphc.grad(total, node, disconnected="zeros").eval(call.feeds)
            else:
                wanted = differences(total, node, call.feeds)
            np.testing.assert_allclose(fitted(np.asarray(one), array.shape), wanted, rtol=1e-5, atol=1e-8, err_msg=code)


def fitted(value, shape):
    """Sum away, or spread, what broadcasting made of a gradient."""
    while value.ndim > len(shape):
        value = value.sum(0)
    axes = tuple(k for k, size in enumerate(shape) if value.ndim == len(shape) and size == 1 < value.shape[k])
    return np.broadcast_to(value.sum(axes, keepdims=True) if axes else value, shape)


def differences(total, node, feeds, step=1e-6):
    """The slope of a scalar by each element of an input."""
    slopes = np.empty(feeds[node].size)
    for k in range(slopes.size):
        ends = []
        for sign in (1, -1):
            moved = feeds[node].copy()
            moved.reshape(-1)[k] += sign * step
            ends.append(total.eval({**feeds, node: moved}))
        slopes[k] = (ends[0] - ends[1]) / (2 * step)
    return slopes.reshape(feeds[node].shape)


@pytest.mark.parametrize(
    "name", [name for name, said in FUNCTIONS.items() if said.get("Gradient", "").startswith("none")]
)
def test_what_has_no_gradient_has_none(name):
    call = Call(name)
    for result in leaves(call.output):
        if not isinstance(result, np.ndarray) and result.dtype.is_float:
            wrt = [node for node, _ in call.inputs.values() if node.dtype.is_float]
            for slope in graphc.grad(result.sum(), wrt, disconnected="zeros"):
                assert not slope.eval(call.feeds).any()
