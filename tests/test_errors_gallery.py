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
from graphc.graph.elsewhere import OF_MODULE, OF_NODES
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
    # With these Python looks for a name that is near.
    assert (info.value.name, info.value.obj is thing) == ("no_such_name", True)
    assert getattr(thing, "no_such_name", 7) == 7


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
