"""Modules and losses against NumPy."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphError, ShapeError
from graphc.passes import run_passes


@pytest.fixture
def net():
    graphc.seed(7)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))


def test_linear_is_an_affine_map_of_the_last_axis(net):
    x = graphc.input("x", ("n", 2, 4))
    data = np.random.default_rng(0).normal(size=(6, 2, 4)).astype("f")
    w = net.state_dict()
    expected = np.tanh(data @ w["0.weight"].T + w["0.bias"]) @ w["2.weight"].T
    np.testing.assert_allclose(net(x).eval({x: data}), expected, rtol=1e-5, atol=1e-6)


def test_initial_weights_are_pytorchs_and_repeat_with_the_seed(net):
    weight = nn.Linear(100, 200).weight.value
    assert np.abs(weight).max() <= 0.1
    assert np.abs(weight).max() > 0.099
    assert abs(weight.mean()) < 1e-3
    assert weight.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    graphc.seed(7)
    np.testing.assert_array_equal(nn.Linear(4, 5).weight.value, net[0].weight.value)
    assert nn.Linear(2, 2, dtype="float64").weight.dtype is graphc.float64


def test_names_in_order_of_registration_each_once(net):
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight"]
    shared = nn.Sequential(net[0], net[0])
    assert [name for name, _ in shared.named_parameters()] == ["0.weight", "0.bias"]
    assert [name for name, _ in shared.named_modules()] == ["", "0"]


def test_attributes_are_registered_replaced_and_deleted():
    class Model(nn.Module):
        def __init__(self):
            self.scale = graphc.parameter(np.ones(2, "f"))
            self.count = graphc.state(np.int64(0))
            self.inner = nn.Linear(1, 1)

        def forward(self, x):
            return x * self.scale

    model = Model()
    assert [name for name, _ in model.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
    assert [name for name, _ in model.named_states()] == ["count"]
    model.scale = None
    del model.inner
    assert model.parameters() == []
    with pytest.raises(GraphError, match=r"no forward\(\)"):
        nn.Module()(1)


def test_state_dict_round_trip_and_errors_change_nothing(net):
    saved = net.state_dict()
    saved["0.weight"] += 1
    assert not np.array_equal(saved["0.weight"], net[0].weight.value)
    net.load_state_dict(saved)
    np.testing.assert_array_equal(net[0].weight.value, saved["0.weight"])
    before = net.state_dict()
    for wrong, message in [
        ({**saved, "extra": np.ones(1)}, "extra"),
        ({"0.weight": saved["0.weight"]}, "missing"),
        ({**{k: v + 1 for k, v in saved.items()}, "2.weight": np.ones((1, 1))}, "2.weight"),
        ({**{k: v + 1 for k, v in saved.items()}, "2.weight": saved["2.weight"] * 1j}, "complex"),
    ]:
        with pytest.raises(GraphError, match=message):
            net.load_state_dict(wrong)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_wrong_arguments_of_modules():
    with pytest.raises(ShapeError, match=r"in_features: expected a whole number of 0 or more, got 3\.0"):
        nn.Linear(3.0, 2)
    with pytest.raises(GraphError, match="got a list at position 0"):
        nn.Sequential([nn.Linear(3, 2)])


def test_a_wrong_last_axis_is_an_error_at_the_users_line(net):
    with pytest.raises(ShapeError, match="last axis of 4"):
        net(graphc.input("x", ("n", 3)))


def test_functional_call(net):
    x = graphc.input("x", (4,))
    got = nn.functional_call(net, {"0.bias": np.zeros(5, "f")}, x)
    data = np.ones(4, "f")
    w = net.state_dict()
    expected = np.tanh(data @ w["0.weight"].T) @ w["2.weight"].T
    np.testing.assert_allclose(got.eval({x: data}), expected, rtol=1e-5)
    with pytest.raises(GraphError, match="nothing"):
        nn.functional_call(net, {"nothing": 0}, x)


def test_flatten():
    x = graphc.input("x", ("n", 2, 3, 4))
    assert nn.Flatten()(x).shape[1] == 24
    assert nn.Flatten(2)(x).shape[1:] == (2, 12)
    assert nn.Flatten(0, 1)(x).ndim == 3


def test_dropout_scales_in_training_and_does_nothing_otherwise():
    x = graphc.input("x", ("n",))
    y = nn.Dropout(0.25)(x)
    gradient = graphc.grad(y.sum(), x)
    ones = np.ones(20_000, "f")
    graph = graphc.Graph((x,), (y, gradient))
    trained, slope = graphc.evaluate(list(run_passes(graph, training=True).outputs), {x: ones})
    assert set(np.unique(trained)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (trained == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(trained, slope)
    plain, slope = graphc.evaluate(list(run_passes(graph, training=False).outputs), {x: ones})
    np.testing.assert_array_equal(plain, ones)
    np.testing.assert_array_equal(slope, ones)
    assert nn.dropout(x, 0.5, training=False) is x
    np.testing.assert_array_equal(nn.dropout(x, 1.0, training=True).eval({x: ones}), 0)
    with pytest.raises(GraphError, match="probability"):
        nn.Dropout(1.5)
