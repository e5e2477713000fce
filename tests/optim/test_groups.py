"""Groups of parameters, clipping, joined updates, and what is refused."""

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.errors import GraphError


def leaf(name, *values):
    return graphc.parameter(np.array(values, "float64"), name)


def step(updates):
    """Make one step by the reference run."""
    for target, value in zip(updates, graphc.evaluate(list(updates.values())), strict=True):
        target.set(value)


def loss_of(*parameters):
    """A loss whose gradient by each parameter p is 3 * p."""
    return sum((p * p).sum() for p in parameters) * 1.5


def test_groups_have_options_of_their_own():
    a, b, c = leaf("a", 1.0, 2.0), leaf("b", 3.0), leaf("c", 4.0)
    sgd = optim.SGD(0.1, weight_decay=0.5)
    updates = sgd.minimize(
        loss_of(a, b, c),
        [{"parameters": [a], "learning_rate": 0.01}, {"parameters": [b], "weight_decay": 0.0}, {"parameters": [c]}],
    )
    step(updates)
    np.testing.assert_allclose(a.value, np.array([1.0, 2.0]) * (1 - 0.01 * 3.5), rtol=1e-15)
    np.testing.assert_allclose(b.value, 3.0 * (1 - 0.1 * 3), rtol=1e-15)
    np.testing.assert_allclose(c.value, 4.0 * (1 - 0.1 * 3.5), rtol=1e-15)
    assert sgd.weight_decay == 0.5


def test_the_rate_of_a_group_keeps_its_proportion_and_a_state_is_taken_as_it_is():
    a, b, c = leaf("a", 1.0), leaf("b", 1.0), leaf("c", 1.0)
    own = graphc.state(np.float64(0.25), "own")
    sgd = optim.SGD(0.1)
    groups = [
        {"parameters": [a]},
        {"parameters": [b], "learning_rate": 0.02},
        {"parameters": [c], "learning_rate": own},
    ]
    updates = sgd.minimize(loss_of(a, b, c), groups)
    sgd.learning_rate.set(0.05)
    step(updates)
    np.testing.assert_allclose([a.value[0], b.value[0], c.value[0]], [1 - 0.15, 1 - 0.03, 1 - 0.75], rtol=1e-15)


def test_groups_differ_in_slots_and_scales_and_share_the_count():
    a, b = leaf("a", 1.0), leaf("b", 1.0)
    adam = optim.Adam(0.1)
    updates = adam.minimize(
        loss_of(a, b), [{"parameters": [a], "betas": (0.0, 0.5)}, {"parameters": [b], "amsgrad": True}]
    )
    step(updates)
    step(updates)
    assert adam.step_count.value == 2
    assert set(adam.states) == {
        "learning_rate",
        "step_count",
        "0.first",
        "0.second",
        "1.first",
        "1.second",
        "1.largest",
    }
    p, v = 1.0, 0.0
    for t in (1, 2):
        g = 3 * p
        v = 0.5 * v + 0.5 * g * g
        p -= 0.1 * g / (np.sqrt(v / (1 - 0.5**t)) + 1e-8)
    np.testing.assert_allclose(a.value, p, rtol=1e-12)


def test_groups_of_given_gradients_compiled():
    a, b = leaf("a", 1.0), leaf("b", 1.0)
    one = graphc.constant(np.ones(1))
    updates = optim.SGD(0.1).apply({a: one, b: one}, [{"parameters": [b], "learning_rate": 1.0}])
    assert a not in updates
    graphc.compile([], updates=updates)()
    assert (a.value[0], b.value[0]) == (1.0, 0.0)


def test_frozen_parameters_are_left_out_of_updates_and_of_the_common_norm():
    a, b = leaf("a", 3.0), leaf("b", 4.0)
    b.trainable = False
    one = graphc.constant(np.ones(1))
    for updates in (optim.SGD(0.1).minimize(loss_of(a, b)), optim.SGD(0.1).apply({a: one, b: one})):
        assert a in updates
        assert b not in updates
    step(optim.SGD(1.0, clip_norm=3.0).minimize(loss_of(a, b)))
    np.testing.assert_allclose(a.value, 3.0 - 9.0 * 3.0 / (9.0 + 1e-6))
    a.trainable = False
    with pytest.raises(GraphError, match="frozen"):
        optim.SGD(0.1).minimize(loss_of(a, b))


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_clipping_by_the_common_norm(scale):
    a, b = leaf("a", 3.0 * scale), leaf("b", 4.0 * scale, 0.0)
    norm = 3 * 5 * scale
    factor = min(1.0, 2.0 / (norm + 1e-6))
    expected = [p.value * (1 - 0.1 * 3 * factor) for p in (a, b)]
    step(optim.SGD(0.1, clip_norm=2.0).minimize(loss_of(a, b)))
    for p, value in zip((a, b), expected, strict=True):
        np.testing.assert_allclose(p.value, value, rtol=1e-14)


def test_clipping_by_value():
    a = leaf("a", -5.0, 0.1, 2.0)
    step(optim.SGD(1.0, clip_value=0.5).minimize(loss_of(a)))
    np.testing.assert_allclose(a.value, [-4.5, 0.1 - 0.3, 1.5], rtol=1e-14)


def test_norms_over_several_dtypes_and_of_zeros():
    nodes = {"a": graphc.constant(np.array([3.0], "f")), "b": [graphc.constant(np.array([4.0, 0.0]))]}
    assert graphc.global_norm(nodes).eval() == 5.0
    clipped = graphc.evaluate(graphc.clip_by_norm(nodes, 1.0))
    np.testing.assert_allclose(clipped["a"], 3 / 5, rtol=1e-6)
    assert clipped["a"].dtype == np.float32
    zero = graphc.parameter(np.zeros(3))
    norm = graphc.global_norm([zero])
    assert norm.eval() == 0
    np.testing.assert_array_equal(graphc.grad(norm, zero).eval(), np.zeros(3))
    with pytest.raises(GraphError, match="above 0, got -1"):
        graphc.clip_by_norm(zero, -1.0)


def test_joining_updates_refuses_two_of_one_leaf():
    a, b, s = leaf("a", 1.0), leaf("b", 1.0), graphc.state(0.0, "s")
    loss = loss_of(a, b)
    joined = optim.SGD(0.1).minimize(loss, [a]) | optim.Adam(0.1).minimize(loss, [b]) | {s: s + 1.0}
    assert {a, b, s} <= set(joined)
    assert isinstance({s: s + 1.0} | optim.SGD(0.1).minimize(loss, [a]), optim.Updates)
    for left, right in ((joined, {a: b}), ({a: b}, joined)):
        with pytest.raises(GraphError, match=r"two updates of one leaf: float64\[1\] made by parameter 'a'"):
            left | right
    twice = optim.SGD(0.1)
    with pytest.raises(GraphError, match="step_count"):
        twice.minimize(loss, [a]) | twice.minimize(loss, [b])
    step = graphc.compile([], {"loss": loss}, updates=joined)
    step()
    assert s.value == 1.0


def test_an_optimizer_shows_its_options():
    assert repr(optim.SGD(0.5, momentum=0.9)) == (
        "SGD(learning_rate=0.5, momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=False, clip_norm=None, clip_value=None)"
    )


def test_rates_may_be_states_that_optimizers_share():
    rate = graphc.state(np.float64(0.1), "rate")
    first, second = optim.SGD(rate), optim.Adam(rate)
    assert first.learning_rate is second.learning_rate is rate


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [a, b]), "made by parameter 'b'"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [a, a]), "given twice: .*parameter 'a'"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"parameters": [a]}, {"parameters": [a]}]), "given twice"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"parameters": [a]}, b]), "expected only groups"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"params": [a]}]), "expected only groups"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"parameters": [a], "rate": 1}]), "no option 'rate'"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"parameters": [a], "momentum": -1}]), "expected momentum"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [{"parameters": [a], "learning_rate": -1}]), "learning rate"),
        (lambda a, b: optim.SGD(0.0).minimize(loss_of(a), [{"parameters": [a], "learning_rate": 1}]), "proportion"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), a), "a list of parameters"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), []), "got none"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), graphc.nn.Linear(1, 1)), r"give its parameters\(\)"),
        (lambda a, b: optim.SGD(0.1).minimize(loss_of(a), [a + 1.0]), "expected a parameter to train"),
        (lambda a, b: optim.SGD(0.1).apply({a: 1.0}), "expected a gradient of type"),
        (lambda a, b: optim.SGD(0.1).apply({a: a}, [a, b]), "for .*parameter 'b'"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(GraphError, match=message) as caught:
        call(leaf("a", 1.0), leaf("b", 1.0))
    assert "test_groups.py:" in str(caught.value)
