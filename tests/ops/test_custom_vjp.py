"""Rules of a user's own: what replaces the chain rule, at any order, batched, inside loops, compiled."""

import numpy as np
import pytest

import graphc
from graphc.errors import DTypeError, GraphError, ShapeError

X = np.array([-1.5, 0.2, 2.0])


@pytest.fixture
def x():
    return graphc.input("x", (3,), "float64")


@graphc.custom_vjp
def rounded(x):
    """The integer below, with the gradient of the identity."""
    return graphc.floor(x)


rounded.defvjp(lambda inputs, output, cotangent: cotangent)


@graphc.custom_vjp
def odd(x):
    """x, with a derivative that says x ** 2."""
    return x


@odd.defvjp
def odd_rule(inputs, output, cotangent):
    return (cotangent * inputs[0] * output,)


def test_the_rule_replaces_the_chain_rule_and_the_value_stays(x):
    y = rounded(x) * x
    np.testing.assert_array_equal(y.eval({x: X}), np.floor(X) * X)
    np.testing.assert_allclose(graphc.grad(y.sum(), x).eval({x: X}), X + np.floor(X))
    assert rounded.__name__ == "rounded"
    assert "identity" in rounded.__doc__


def test_higher_orders_differentiate_the_rules_nodes(x):
    first = graphc.grad(odd(x).sum(), x)
    np.testing.assert_allclose(first.eval({x: X}), X**2)
    # d(inputs * output): by the input it is the output; by the output it is the input times the rule, x ** 2, again.
    second = graphc.grad(first.sum(), x)
    np.testing.assert_allclose(second.eval({x: X}), X + X * X**2)
    third = graphc.grad(second.sum(), x)
    # x, as output under the rule: x ** 2; then the derivative of i * (i * o) is 2 * i * o + i * i * x ** 2.
    np.testing.assert_allclose(third.eval({x: X}), X**2 + 2 * X * X + X * X * X**2)


def test_rules_nest(x):
    outer = graphc.custom_vjp(lambda x: odd(x) * 2.0, lambda inputs, output, cotangent: cotangent * odd(inputs[0]))
    first = graphc.grad(outer(x).sum(), x)
    np.testing.assert_allclose(first.eval({x: X}), X)
    np.testing.assert_allclose(graphc.grad(first.sum(), x).eval({x: X}), X**2)


def test_forward_derivatives_transpose_a_linear_rule(x):
    np.testing.assert_allclose(graphc.jvp(odd(x), x, np.ones(3)).eval({x: X}), X**2)
    product = graphc.custom_vjp(lambda a, b: (a @ b).sum(), lambda i, o, c: (c * i[1].sum(1) + 0 * i[0], None))
    a, b = graphc.input("a", (2, 3), "float64"), graphc.input("b", (3, 3), "float64")
    arrays = {a: np.arange(6.0).reshape(2, 3), b: np.arange(9.0).reshape(3, 3)}
    tangent = np.random.default_rng(0).normal(size=(2, 3))
    got = graphc.jvp(product(a, b), a, tangent).eval(arrays)
    np.testing.assert_allclose(got, (tangent @ arrays[b]).sum())
    squared = graphc.custom_vjp(lambda x: x, lambda inputs, output, cotangent: cotangent * cotangent)
    with pytest.raises(GraphError, match="linear in the cotangent"):
        graphc.jvp(squared(x), x, np.ones(3))


@pytest.mark.parametrize("is_read", [False, True])
def test_a_rule_with_a_scan_is_linear_if_what_it_reads_of_it_is(x, is_read):
    def rule(inputs, output, cotangent):
        def step(carry, _):
            single, square = carry
            return (single + cotangent, square + single * single), None

        single, square = graphc.scan(step, (graphc.zeros_like(cotangent),) * 2, length=3)[0]
        return square if is_read else single

    y = graphc.custom_vjp(lambda x: x, rule)(x)
    if is_read:
        with pytest.raises(GraphError, match="linear in the cotangent"):
            graphc.jvp(y, x, np.ones(3))
    else:
        np.testing.assert_allclose(graphc.jvp(y, x, np.arange(3.0)).eval({x: X}), [0, 3, 6])


def test_what_is_read_from_outside_is_a_constant_to_the_first_derivative(x):
    scale = graphc.input("scale", (3,), "float64")
    scaled = graphc.custom_vjp(lambda x: x * scale, lambda inputs, output, cotangent: cotangent * scale)
    y = scaled(x)
    feeds = {x: X, scale: np.array([2.0, 3.0, 4.0])}
    first = graphc.grad(y.sum(), x)
    np.testing.assert_allclose(first.eval(feeds), feeds[scale])
    with pytest.raises(GraphError, match="does not depend on"):
        graphc.grad(y.sum(), scale)
    np.testing.assert_allclose(graphc.grad((first * first).sum(), scale).eval(feeds), 2 * feeds[scale])


def test_batches_go_through_the_rule(x):
    rows = graphc.input("rows", (4, 3), "float64")
    arrays = np.random.default_rng(0).normal(size=(4, 3)) * 3

    def gradient(row):
        return graphc.grad((graphc.clip_gradient(row, max_norm=1.0) * row * x).sum(), row)

    got = graphc.vmap(gradient)(rows).eval({rows: arrays, x: X})
    for k, row in enumerate(arrays):
        through = row * X  # the gradient that arrives at clip_gradient
        wanted = through * min(1, 1 / (np.linalg.norm(through) + 1e-6)) + row * X
        np.testing.assert_allclose(got[k], wanted)
    shared = graphc.grad(graphc.vmap(lambda row: (odd(x) * row).sum())(rows).sum(), x)
    np.testing.assert_allclose(shared.eval({rows: arrays, x: X}), X**2 * arrays.sum(0))


def test_inside_a_scan(x):
    final, _ = graphc.scan(lambda c, v: (odd(c * v), c), graphc.constant(np.float64(2.0)), x)
    carry, slope = 2.0, 0.0
    factors = []
    for v in X:
        factors.append((carry, v, (carry * v) ** 2))
        carry = carry * v
    wanted = np.zeros(3)
    slope = 1.0
    for k in (2, 1, 0):
        before, v, rule = factors[k]
        wanted[k] = slope * rule * before
        slope = slope * rule * v
    g = graphc.grad(final, x)
    np.testing.assert_allclose(g.eval({x: X}), wanted)
    np.testing.assert_allclose(graphc.compile([x], g)(X), wanted)


def test_clipped_gradients(x):
    weight = np.array([3.0, -0.2, -4.0])
    for arguments, wanted in (
        ((-1.0, 0.5), [0.5, -0.2, -1.0]),
        ((None, 0.0), [0.0, -0.2, -4.0]),
        ((-1.0,), [3.0, -0.2, -1.0]),
    ):
        y = (graphc.clip_gradient(x, *arguments) * weight).sum()
        np.testing.assert_allclose(graphc.grad(y, x).eval({x: X}), wanted)
    np.testing.assert_array_equal(graphc.jvp(graphc.clip_gradient(x, -1.0, 1.0), x, weight).eval({x: X}), weight)
    for bad in ({}, {"low": 0.0, "max_norm": 1.0}):
        with pytest.raises(GraphError, match="expected bounds"):
            graphc.clip_gradient(x, **bad)


def test_it_fuses_as_if_it_were_not_there(x):
    def kernels(function):
        y = function(graphc.tanh(x)) * 2.0
        return len(graphc.compile([x], [y, graphc.grad(y.sum(), x)]).plan.kernels)

    plain = graphc.custom_vjp(lambda x: graphc.exp(x), lambda inputs, output, cotangent: cotangent * output)
    assert kernels(plain) == kernels(graphc.exp)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (None, GraphError, "has no rule"),
        (lambda i, o, c: (c, c), GraphError, "each of 1 operands, got 2"),
        (lambda i, o, c: c.sum(), ShapeError, r"expected float64\[3\] for operand 0"),
        (lambda i, o, c: c.astype("float32"), DTypeError, r"got float32\[3\]"),
    ],
)
def test_rules_that_do_not_fit(x, rule, error, message):
    with pytest.raises(error, match=message) as caught:
        graphc.custom_vjp(lambda x: x, rule)(x)
    assert "test_custom_vjp.py:" in str(caught.value)
