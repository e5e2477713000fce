"""Mistakes that users make: each raises its kind of error at its line, with what was expected, what came and what to do."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.compiler import ELSEWHERE as OF_EXECUTABLES
from graphc.graph.elsewhere import OF_MODULE, OF_NN, OF_NODES, OF_OPTIM, OPTIONS, RENAMED
from graphc.graph.operators import BUILDERS
from graphc.nn.module import ELSEWHERE as OF_MODULES
from graphc.optim.optimizer import ELSEWHERE as OF_OPTIMIZERS
from tests.docs import mistakes, mistakes_training
from tests.docs.gallery import MISTAKES


def objects():
    x, net = graphc.input("x", ("batch", 3)), nn.Linear(3, 1)
    return {
        "node": (x * 2.0, OF_NODES),
        "input": (x, OF_NODES),
        "parameter": (net.weight, OF_NODES),
        "module": (net, OF_MODULES),
        "optimizer": (optim.Adam(0.1), OF_OPTIMIZERS),
        "package": (graphc, OF_MODULE),
        "nn": (nn, OF_NN),
        "optim": (optim, OF_OPTIM),
        "executable": (graphc.compile([x], net(x)), OF_EXECUTABLES),
    }


def test_the_gallery_is_large_and_its_names_differ():
    assert {one.name for one in MISTAKES} >= {mistakes.broadcast.__name__, mistakes_training.lr.__name__}
    assert len({one.title for one in MISTAKES}) == len(MISTAKES) >= 40


@pytest.mark.parametrize("one", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_raises_its_error_at_its_line(one):
    error, lines = one.raised()
    assert isinstance(error, one.error), error
    assert lines[0] == one.last_line
    text = str(error)
    assert [word for word in one.words if word not in text] == []
    shown = {int(line) for line in re.findall(r"(?:^  | )at example\.py:(\d+)(?:: |$)", text, re.MULTILINE)}
    if one.error is graphc.IndexOutOfRangeError:  # data, at a run: the line of the op that reads them
        assert shown
        assert shown.isdisjoint(lines)
    else:
        assert shown & set(lines), text


@pytest.mark.parametrize("kind", objects())
def test_advice_is_for_names_that_there_are_not(kind):
    thing, advice = objects()[kind]
    for name in advice:
        assert not hasattr(type(thing), name), name
        assert not hasattr(thing, name)
        with pytest.raises(
            graphc.GraphcError, match=f"no attribute '{name}'; .*\n  at test_errors_gallery.py:"
        ) as info:
            getattr(thing, name)
        assert isinstance(info.value, AttributeError)


@pytest.mark.parametrize("kind", objects())
def test_other_names_are_python_s_own_error(kind):
    thing, _ = objects()[kind]
    with pytest.raises(AttributeError, match=r"has no attribute 'no_such_name'$") as info:
        thing.no_such_name  # noqa: B018
    assert (info.value.name, info.value.obj is thing) == ("no_such_name", True)
    assert getattr(thing, "no_such_name", 7) == 7


@pytest.mark.parametrize(
    ("owner", "name", "meant"),
    [(graphc, "sofmax", "softmax"), (nn, "Linaer", "Linear"), (graphc.input("x", (2,)), "sumn", "sum")],
)
def test_a_misspelt_name_is_told_the_right_one(owner, name, meant):
    with pytest.raises(AttributeError, match=rf"has no attribute '{name}'\. Did you mean: '{meant}'\?$"):
        getattr(owner, name)


def test_what_python_asks_of_objects_still_works():
    net, adam = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), optim.Adam(0.1)
    for thing in (net, adam):
        assert type(copy.copy(thing)) is type(thing)
        assert type(copy.deepcopy(thing)) is type(thing)
        assert not hasattr(thing, "__array__")
    x = graphc.input("x", ("batch", 3))
    assert copy.deepcopy(x) is x
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(twin[0].weight.value, net[0].weight.value)
    assert twin[0].weight is not net[0].weight
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net))[0].weight.value, net[0].weight.value)
    assert not inspect.isabstract(net)
    assert inspect.unwrap(net) is net


def test_a_subclass_may_have_the_names_of_other_frameworks():
    class Net(nn.Module):
        def eval(self):
            return "mine"

    class Rule(optim.SGD):
        def step(self):
            return "mine"

    assert Net().eval() == Rule(0.1).step() == "mine"


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"lr": 0.1}, "learning_rate"),
        ({"params": []}, "minimize"),
        ({"beta_1": 0.9}, "betas="),
        ({"epsilon": 1e-3}, "eps"),
        ({"no_such": 1}, "amsgrad"),
    ],
)
def test_an_optimizer_says_what_its_options_are(options, advice):
    with pytest.raises(TypeError, match=f"Adam has no option {next(iter(options))!r}.*{advice}"):
        optim.Adam(**options)


CALLS = {
    "a function": (lambda: graphc.softmax(X, dim=0), "dim is called axis; expected softmax(x, axis=-1)"),
    "a method": (lambda: X.sum(axis=0, keepdim=True), "keepdim is called keepdims; expected sum(axis=None"),
    "eval": (lambda: X.eval(x=np.zeros(3)), "expected eval(feeds=None)"),
    "a module": (lambda: nn.Linear(3, 2, device="cpu"), f"{OPTIONS['device']}; expected Linear(in_features, "),
    "too few": (lambda: graphc.grad(X), "'wrt'; expected grad(output, wrt, "),
    "too many": (lambda: graphc.tanh(X, X), "expected tanh(x)"),
    "nothing near": (lambda: graphc.tanh(X, no_such=1), "'no_such'; expected tanh(x)"),
}
X = graphc.input("x", (3, 3))


@pytest.mark.parametrize("kind", CALLS)
def test_arguments_that_a_function_does_not_take_raise_at_the_users_line(kind):
    call, words = CALLS[kind]
    with pytest.raises(graphc.OptionError) as info:
        call()
    assert isinstance(info.value, TypeError)
    message, *places = str(info.value).splitlines()
    assert words in message
    assert re.fullmatch(r"  in \w+ at test_errors_gallery\.py:\d+", places[0])


def test_names_of_options_are_those_of_some_function():
    known = {name for build in BUILDERS.values() for name in inspect.signature(build).parameters}
    known |= set(inspect.signature(graphc.compile).parameters) | set(inspect.signature(graphc.fit).parameters)
    known |= set(inspect.signature(optim.Adam).parameters) | set(inspect.signature(nn.Linear).parameters)
    known |= set(inspect.signature(graphc.vmap).parameters)
    assert not set(RENAMED.values()) - known
    assert not RENAMED.keys() & OPTIONS.keys()


def test_a_type_error_of_the_users_own_stays_as_it_is():
    def step(carry):
        return carry

    with pytest.raises(TypeError, match=r"step\(\) takes 1 positional argument but 2 were given") as info:
        graphc.scan(step, 0.0, X)
    assert not isinstance(info.value, graphc.GraphcError)


@pytest.mark.parametrize(
    "make", [lambda: X, lambda: X * 2.0, lambda: graphc.state(0.0), lambda: nn.Linear(3, 1).weight]
)
def test_attributes_of_nodes_are_fixed(make):
    for name in ("value", "shape", "op", "color"):
        with pytest.raises(
            graphc.AssignmentError, match=f"cannot assign to '{name}' of a .*\n  at test_errors_gallery.py:"
        ):
            setattr(make(), name, 1)
    with pytest.raises(graphc.AssignmentError, match="cannot assign to 'op'"):
        del make().op


def test_what_an_optimizer_has_elsewhere_is_not_assigned_to_it():
    adam = optim.Adam(0.1)
    with pytest.raises(graphc.AssignmentError, match=r"Adam has no 'lr'; .*learning_rate\.set.*\n  at test_errors"):
        adam.lr = 0.01
    for name in ("learning_rate", "step_count"):
        with pytest.raises(graphc.AssignmentError, match=rf"'{name}'; \.{name}\.set\(number\) changes it\n  at test_"):
            setattr(adam, name, 0.01)
    assert adam.learning_rate.value == 0.1


@pytest.mark.parametrize(
    ("call", "flag", "got"),
    [
        (lambda: graphc.sum(X, 0, "float64"), "keepdims", "'float64'"),
        (lambda: X.max(0, None), "keepdims", "None"),
        (lambda: graphc.sort(X, -1, "stable"), "descending", "'stable'"),
        (lambda: graphc.linspace(0, 1, 5, graphc.float32), "endpoint", "float32"),
        (lambda: graphc.std(X, keepdims=X), "keepdims", "float32.*input 'x'"),
        (lambda: nn.Linear(3, 2, np.zeros(2)), "bias", "array"),
        (lambda: nn.Conv2d(3, 8, 3, bias=graphc.state(0.0)), "bias", "float32.*"),
    ],
)
def test_a_flag_that_is_neither_true_nor_false_does_not_pass_for_true(call, flag, got):
    with pytest.raises(
        graphc.OptionError,
        match=rf"expected {flag} of \w+\(.*{flag}=.*\) to be True or False, got {got}(.|\n)* at test_errors",
    ):
        call()


def test_a_flag_may_be_numpys():
    assert graphc.sum(X, 0, np.True_).shape == graphc.sum(X, 0, keepdims=1).shape == (1, X.shape[1])


def test_an_init_that_classes_share_is_called_what_the_user_called():
    class Wide(nn.Conv1d):
        pass

    for made in (nn.Conv2d, nn.ConvTranspose1d, nn.LSTM, nn.InstanceNorm1d, nn.Dropout2d, Wide):
        with pytest.raises(graphc.GraphcError) as caught:
            made("three", *((4, 5) if "Conv" in str(made.__mro__) else ()))
        name = made.__name__
        assert re.search(rf"\n  in {name} at test_errors_gallery.py", str(caught.value)), str(caught.value)
        with pytest.raises(
            graphc.OptionError, match=rf"^{name}\(\) .*'frames'.*expected {name}\((.|\n)* in {name} at test_"
        ):
            made(frames=3)


def test_round_is_numpys():
    x = graphc.input("x", (4,), "float64")
    values = np.array([0.5, 1.5, -2.5, 2.4])
    np.testing.assert_array_equal(round(x).eval({x: values}), np.round(values))
    np.testing.assert_array_equal(round(x, 1).eval({x: values}), np.round(values, 1))


def test_a_feed_that_is_no_mapping_is_refused():
    with pytest.raises(graphc.MissingInputError, match=r"feeds: expected \{input node: array\}, got a ndarray"):
        X.eval(np.zeros((3, 3)))


def test_vmap_of_a_node_is_refused():
    with pytest.raises(graphc.GraphError, match=r"expected a function of nodes, .*\n  in vmap at test_errors"):
        graphc.vmap(X)


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(-4, 3), lambda: nn.Dropout(2.0), lambda: nn.Sequential([nn.ReLU()])]
)
def test_what_a_module_refuses_when_made_has_the_users_line(make):
    with pytest.raises(graphc.GraphcError, match=r"\n  in \w+ at test_errors_gallery\.py:\d+$"):
        make()


class Refusing:
    """As a tensor of PyTorch that requires a gradient, or whose dtype NumPy has not."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error("use tensor.detach().numpy() instead")


@pytest.mark.parametrize("error", [RuntimeError, TypeError])
def test_a_tensor_that_gives_no_array_is_refused_with_its_own_words(error):
    message = r"a Refusing.*: use tensor\.detach\(\)\.numpy\(\) instead\n  in .* at test_errors_gallery\.py:"
    for use in (lambda v: graphc.constant(v), lambda v: X * v, lambda v: graphc.compile([X], X * 2.0)(v)):
        with pytest.raises(graphc.GraphcError, match=message):
            use(Refusing(error))


def test_what_stands_to_the_left_of_an_operator_gives_way():
    class Series:
        """What pandas documents for containers that know how to add a series to themselves."""

        __pandas_priority__ = 4000  # a data frame's, the highest of its own

        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

        def __mul__(self, other):
            return NotImplemented if other.__pandas_priority__ > self.__pandas_priority__ else "wrong"

    x = graphc.input("x", (3,), "float64")
    np.testing.assert_array_equal((Series() * x).eval({x: [1.0, 2.0, 3.0]}), [1, 2, 3])
    assert (np.ones(3) * x).shape == (3,)


def test_dump_names_the_users_line():
    with pytest.raises(graphc.GraphError, match=r"ends in \.txt.*\n  in dump at test_errors_gallery\.py:"):
        graphc.dump(graphc.compile([X], X * 2.0), "model.xyz")
