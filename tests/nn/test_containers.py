"""Modules that hold modules, freezing, and the printed forms."""

import copy

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import GraphError


def test_module_list_registers_what_a_plain_list_would_hide():
    class Deep(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList([nn.Linear(2, 2)])
            self.blocks.append(nn.Linear(2, 2))

    deep = Deep()
    names = ["blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"]
    assert [name for name, _ in deep.named_parameters()] == names
    assert len(deep.blocks) == 2
    assert list(deep.blocks)[1] is deep.blocks[1] is deep.blocks[-1]
    assert [*deep.blocks[1:]] == [deep.blocks[1]]
    for held in (
        [nn.Linear(2, 2)],
        {"a": nn.Linear(2, 2)},
        (nn.Linear(2, 2),),
        [[nn.Linear(2, 2)]],
        [graphc.parameter(np.ones(2), "w")],
    ):
        with pytest.raises(GraphError, match=r"neither trained nor saved.*ModuleList"):
            deep.more = held
    deep.again = [deep.blocks]  # registered already, so nothing is hidden
    deep.table = [1.0, np.ones(2)]
    assert len(deep.parameters()) == 4
    with pytest.raises(GraphError, match="expected modules, got a function"):
        deep.blocks.append(graphc.tanh)


def test_module_dict_is_a_dict_whose_keys_are_names():
    heads = nn.ModuleDict({"policy": nn.Linear(3, 2), "items": nn.Linear(3, 1)})
    heads["extra"] = nn.Tanh()
    assert [*heads] == [*heads.keys()] == ["policy", "items", "extra"]
    assert [name for name, _ in heads.items()] == ["policy", "items", "extra"]
    assert [name for name, _ in heads.named_parameters()][:2] == ["policy.weight", "policy.bias"]
    assert heads["items"].out_features == 1
    assert "extra" in heads
    del heads["extra"]
    assert len(heads) == len(heads.values()) == 2
    with pytest.raises(KeyError):
        heads["value"]
    for name in ("a.b", "", 3):
        with pytest.raises(GraphError, match="a name without dots"):
            heads[name] = nn.Tanh()
    with pytest.raises(GraphError, match="got a int"):
        heads["number"] = 3


def test_sequential_takes_functions_slices_and_grows():
    net = nn.Sequential(nn.Linear(2, 3), graphc.tanh).append(nn.Linear(3, 1))
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    x, data = graphc.input("x", ("n", 2)), np.ones((1, 2), "f")
    inner = net[:2]
    assert len(inner) == 2
    w = net.state_dict()
    np.testing.assert_allclose(
        inner(x).eval({x: data}), np.tanh(data @ w["0.weight"].T + w["0.bias"]), rtol=1e-5, atol=1e-6
    )
    assert repr(net).splitlines()[2] == "  (1): tanh"
    with pytest.raises(GraphError, match="got a list at position 0"):
        nn.Sequential([nn.Linear(3, 2)])
    with pytest.raises(GraphError, match=r"the class ReLU at position 1; write ReLU\(\.\.\.\)"):
        nn.Sequential(nn.Linear(3, 2), nn.ReLU)


def test_the_printed_form_nests_and_counts():
    net = nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(3, 2), nn.Linear(1000, 2, bias=False)))
    assert repr(net).splitlines() == [
        "Sequential(",
        "  (0): Tanh()",
        "  (1): Sequential(",
        "    (0): Linear(in_features=3, out_features=2, bias=True)",
        "    (1): Linear(in_features=1000, out_features=2, bias=False)",
        "  )",
        ")",
    ]
    net[1][0].trainable = False
    assert str(net).splitlines() == [
        "Sequential(  # 2,008",
        "  (0): Tanh()",
        "  (1): Sequential(  # 2,008",
        "    (0): Linear(in_features=3, out_features=2, bias=True)  # 8",
        "    (1): Linear(in_features=1000, out_features=2, bias=False)  # 2,000",
        "  )",
        ")",
        "2,008 parameters, 8 of them frozen",
    ]


def test_shared_parameters_are_listed_counted_and_trained_once():
    class Tied(nn.Module):
        def __init__(self):
            self.inner, self.outer = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.outer.weight = self.inner.weight

        def forward(self, x):
            return self.outer(self.inner(x))

    tied = Tied()
    assert [name for name, _ in tied.named_parameters()] == ["inner.weight"]
    assert str(tied).endswith("\n9 parameters")
    x = graphc.input("x", (3,), "float32")
    (weight,) = tied.parameters()
    gradient = graphc.grad(tied(x).sum(), weight).eval({x: np.ones(3, "f")})
    w, ones = weight.value.astype("d"), np.ones(3)
    # d sum(W W x) / dW = 1 (W x)^T + (W^T 1) x^T
    np.testing.assert_allclose(gradient, np.outer(ones, w @ ones) + np.outer(w.T @ ones, ones), rtol=1e-5)


def test_frozen_parameters_are_not_trained():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    x = graphc.input("x", ("n", 2))
    loss = net(x).sum()
    net[0].trainable = False
    assert not net.trainable
    assert net[1].trainable
    for updates in (optim.SGD(0.1).minimize(loss), optim.SGD(0.1).minimize(loss, net.parameters())):
        assert {target for target in updates if isinstance(target, graphc.Parameter)} == set(net[1].parameters())
    net.trainable = True
    net[1].bias.trainable = False
    trained = {target for target in optim.SGD(0.1).minimize(loss) if isinstance(target, graphc.Parameter)}
    assert trained == set(net.parameters()) - {net[1].bias}
    net.trainable = False
    for parameters in (None, net.parameters()):
        with pytest.raises(GraphError, match="only frozen ones"):
            optim.SGD(0.1).minimize(loss, parameters)
    assert graphc.grad(loss, net[1].bias).eval({x: np.ones((4, 2), "f")}) == 4


def test_apply_reaches_every_module_once_inner_ones_first():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    seen = []
    assert net.apply(seen.append) is net
    assert len(seen) == 4
    assert seen[-1] is net
    assert seen.index(net[1]) > seen.index(net[1][0])
    assert net.children() == [net[0], net[1]]


def test_a_deep_copy_is_a_network_of_its_own():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    target = copy.deepcopy(net)
    before = target.state_dict()
    net[0].weight.set(np.zeros((2, 2)))
    np.testing.assert_array_equal(target[0].weight.value, before["0.weight"])
    x = graphc.input("x", (2,))
    data = np.ones(2, "f")
    np.testing.assert_allclose(
        target(x).eval({x: data}), np.tanh(before["0.weight"].sum(1) + before["0.bias"]), rtol=1e-5
    )


def test_errors_inside_a_module_name_it_and_the_users_line():
    x = graphc.input("x", ("n", 3))
    with pytest.raises(graphc.ShapeError, match=r"last axis of 4, got float32\[n, 3\]") as caught:
        nn.Linear(4, 5)(x)
    assert "in Linear at test_containers.py:" in str(caught.value)
