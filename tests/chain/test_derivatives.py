"""The walks of the chain rule and what derivatives.py makes of them."""

import numpy as np
import pytest

import graphc
from graphc.errors import DTypeError, GraphError, ShapeError

X = graphc.input("x", (3,), "float64")
W = graphc.parameter(np.array([[1.0, 2.0, -1.0], [0.5, -0.3, 0.8]]), "w")
DATA = np.array([0.3, -0.7, 1.1])


def value(nodes, data=DATA):
    return graphc.evaluate(nodes, {X: data})


def test_the_result_has_the_structure_of_wrt():
    loss = (graphc.tanh(W @ X) * 2.0).sum()
    got = graphc.grad(loss, {"x": X, "rest": [W]})
    assert set(got) == {"x", "rest"}
    slope = 2 * (1 - np.tanh(W.value @ DATA) ** 2)
    np.testing.assert_allclose(value(got["x"]), W.value.T @ slope)
    np.testing.assert_allclose(value(got["rest"][0]), np.outer(slope, DATA))


def test_paths_that_meet_are_added_and_an_intermediate_node_counts_too():
    y = X * X
    loss = (y * X).sum() + y.sum()
    a, b = value(graphc.grad(loss, (X, y)))
    np.testing.assert_allclose(a, 3 * DATA**2 + 2 * DATA)
    np.testing.assert_allclose(b, DATA + 1)


def test_forward_is_the_transpose_of_reverse_where_wrt_overlap():
    y = graphc.tanh(X)
    out = y * X
    cotangent, tangents = np.array([1.0, 2.0, 3.0]), [np.array([0.5, -1.0, 2.0]), np.array([3.0, 1.0, -2.0])]
    back = value(graphc.vjp(out, [X, y], cotangent))
    along = value(graphc.jvp(out, [X, y], tangents))
    assert sum((b * t).sum() for b, t in zip(back, tangents, strict=True)) == pytest.approx((along * cotangent).sum())


def test_the_gradient_of_an_output_by_itself():
    np.testing.assert_array_equal(value(graphc.grad(X.sum(), X)), 1)
    s = X.sum()
    assert value(graphc.grad(s, s)) == 1


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_any_order(order):
    node = graphc.exp(X * 2.0)
    for _ in range(order):
        node = graphc.grad(node.sum(), X)
    np.testing.assert_allclose(value(node), 2.0**order * np.exp(2 * DATA))


def test_hessian_jacobian_and_hvp_agree():
    loss = (graphc.tanh(W @ X) ** 2).sum() + (X * X * X).sum()
    full = graphc.hessian(loss, {"x": X, "w": W})
    assert full["x"]["w"].shape == (3, 2, 3)
    np.testing.assert_allclose(value(full["w"]["x"]), np.moveaxis(value(full["x"]["w"]), 0, -1))
    np.testing.assert_allclose(value(graphc.jacobian(graphc.grad(loss, X), X)), value(full["x"]["x"]))
    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(value(graphc.hvp(loss, X, v)), value(full["x"]["x"]) @ v)
    both = graphc.hvp(loss, [X, W], [v, None])
    np.testing.assert_allclose(value(both[1]), value(full["w"]["x"]) @ v)


def test_hessian_against_finite_differences():
    loss = (graphc.tanh(W @ X) ** 2).sum() + (X * X * X).sum()
    gradient, hessian = graphc.grad(loss, X), value(graphc.hessian(loss, X))
    for k in range(3):
        e = np.eye(3)[k] * 1e-6
        np.testing.assert_allclose(
            hessian[k], (value(gradient, DATA + e) - value(gradient, DATA - e)) / 2e-6, rtol=1e-6, atol=1e-8
        )


def test_ten_thousand_nodes_need_no_recursion():
    y = X
    for _ in range(10_000):
        y = y + 0.001
    first = graphc.grad((y * y).sum(), X)
    np.testing.assert_allclose(value(first), 2 * (DATA + 10), rtol=1e-9)
    np.testing.assert_allclose(value(graphc.jvp(y, X, np.ones(3))), 1)


def test_rules_run_only_on_paths_that_count():
    index = graphc.argmax(X * 2.0)
    loss = (X * X).sum() * graphc.stop_gradient(X.sum()) + index.astype("float64")
    np.testing.assert_allclose(value(graphc.grad(loss, X)), 2 * DATA * DATA.sum())


def test_derivatives_keep_the_origin_of_what_they_derive_from():
    loss = graphc.tanh(X).sum()
    here = loss.origin.line
    assert graphc.grad(loss, X).origin.line == here


# What cannot be differentiated


def test_disconnected():
    other = graphc.parameter(np.ones(2), "other")
    with pytest.raises(GraphError, match=r"does not depend on wrt\['b'\].*'other'") as caught:
        graphc.grad(X.sum(), {"a": X, "b": other})
    assert "test_derivatives.py" in str(caught.value)
    np.testing.assert_array_equal(value(graphc.grad(X.sum(), other, disconnected="zeros")), [0, 0])
    np.testing.assert_array_equal(value(graphc.hessian(X.sum(), X)), np.zeros((3, 3)))
    with pytest.raises(GraphError, match="disconnected"):
        graphc.grad(X.sum(), X, disconnected="none")


def test_a_state_stops_the_gradient_only_where_it_is_not_asked_for():
    state = graphc.state(np.ones(3), "s")
    np.testing.assert_array_equal(value(graphc.grad((X * state).sum(), state)), DATA)


def test_an_output_that_is_no_scalar_needs_a_cotangent():
    with pytest.raises(GraphError, match=r"(?s)expected a scalar.*float64\[3\].*jacobian"):
        graphc.grad(X * 2.0, X)
    np.testing.assert_array_equal(value(graphc.grad(X * 2.0, X, cotangent=[1.0, 2.0, 3.0])), [2, 4, 6])
    with pytest.raises(ShapeError, match="cotangents"):
        graphc.grad(X * 2.0, X, cotangent=np.ones(2))


def test_integers_have_no_derivative():
    n = graphc.input("n", (3,), "int32")
    with pytest.raises(DTypeError, match="int32"):
        graphc.grad((X * n).sum(), n)
    with pytest.raises(DTypeError, match="int32"):
        graphc.jvp(X * n, n, np.ones(3, "int32"))
    with pytest.raises((DTypeError, GraphError)):
        graphc.grad(n.sum(), X)


def test_structures_must_match():
    with pytest.raises(GraphError, match="tangents"):
        graphc.jvp(X, [X, W], [np.ones(3)])
    with pytest.raises(GraphError, match="nodes in wrt"):
        graphc.grad(X.sum(), [1.0])


def test_float32_gradients_stay_float32():
    x = graphc.input("x", (3,))
    assert graphc.grad(graphc.mean(x * x), x).dtype is graphc.float32
    assert graphc.hessian(graphc.mean(x * x), x).dtype is graphc.float32


# vmap and substitute


def test_vmap_axes():
    a = graphc.input("a", (3, 5), "float64")
    b = graphc.input("b", (4,), "float64")
    function = lambda x, y: {"outer": x[:, None] * y, "y": y}  # noqa: E731
    got = graphc.vmap(function, in_axes=(1, None), out_axes=1)(a, b)
    data, other = np.random.default_rng(0).normal(size=(3, 5)), np.arange(4.0)
    values = graphc.evaluate(got, {a: data, b: other})
    np.testing.assert_allclose(values["outer"], np.moveaxis(data.T[:, :, None] * other, 0, 1))
    np.testing.assert_allclose(values["y"], np.repeat(other[:, None], 5, 1))


def test_vmap_of_vmap_and_of_a_symbolic_batch():
    a = graphc.input("a", ("n", 4, 3), "float64")
    got = graphc.vmap(graphc.vmap(lambda x: graphc.softmax(x) @ graphc.tanh(x)))(a)
    data = np.random.default_rng(0).normal(size=(2, 4, 3))
    weights = np.exp(data) / np.exp(data).sum(-1, keepdims=True)
    np.testing.assert_allclose(graphc.evaluate(got, {a: data}), (weights * np.tanh(data)).sum(-1))


def test_per_example_gradients():
    xs = graphc.input("xs", ("n", 3), "float64")
    each = graphc.vmap(lambda x: graphc.grad(graphc.tanh(W @ x).sum(), W))(xs)
    data = np.random.default_rng(0).normal(size=(5, 3))
    expected = [np.outer(1 - np.tanh(W.value @ x) ** 2, x) for x in data]
    np.testing.assert_allclose(graphc.evaluate(each, {xs: data}), expected)


def test_vmap_needs_something_to_map():
    with pytest.raises(GraphError, match="axis to map over"):
        graphc.vmap(lambda x: x, in_axes=None)(X)
    with pytest.raises(GraphError, match="in_axes"):
        graphc.vmap(lambda x: x, in_axes=(0, 0))(X)
    with pytest.raises(ShapeError, match="one size"):
        graphc.vmap(lambda x, y: x)(X, W)


def test_substitute():
    y = graphc.tanh(W @ X)
    fast = W - 0.1 * graphc.grad(y.sum(), W)
    inner = graphc.substitute({"y": y, "x": X}, {W: fast})
    assert inner["x"] is X
    step = W.value - 0.1 * np.outer(1 - np.tanh(W.value @ DATA) ** 2, DATA)
    np.testing.assert_allclose(value(inner["y"]), np.tanh(step @ DATA))
    assert graphc.grad(inner["y"].sum(), W) is not None
    with pytest.raises(ShapeError, match="to stand for"):
        graphc.substitute(y, {W: X})


def test_a_cotangent_has_its_operands_shape_where_a_symbolic_size_must_be_a_number():
    """`y + w` requires n == 3 and is [3, 3]; what flows back to y must still be [n, 3], or no loop could take it."""
    rng = np.random.default_rng(0)
    y = graphc.input("y", ("n", 3), "float64")
    w = graphc.constant(rng.normal(size=(3, 3)))

    def step(h, x):
        h = graphc.tanh(h + x)
        return h, h

    last, history = graphc.scan(step, w[0], y)
    loss = ((history + w) * y).sum() + (y @ (w @ y)).sum() + last.sum()
    gradient = graphc.grad(loss, y)
    assert gradient.shape == y.shape
    at = rng.normal(size=(3, 3))
    found = graphc.evaluate(gradient, {y: at})
    for place in np.ndindex(3, 3):
        moved = np.zeros((3, 3))
        moved[place] = 1e-6
        slope = (graphc.evaluate(loss, {y: at + moved}) - graphc.evaluate(loss, {y: at - moved})) / 2e-6
        np.testing.assert_allclose(found[place], slope, rtol=1e-6, atol=1e-8)
