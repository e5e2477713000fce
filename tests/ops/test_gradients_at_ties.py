"""Derivatives where a function has a corner, and values where a formula could overflow: as PyTorch has them."""

import numpy as np
import pytest

import graphc

INF, NAN = float("inf"), float("nan")

# A function, a point, and the derivative by each operand there; `test_pytorch_has_these_slopes` holds the table itself.
SLOPES = (
    ("sqrt", (0.0,), (INF,)),
    ("rsqrt", (0.0,), (-INF,)),
    ("log", (0.0,), (INF,)),
    ("log1p", (-1.0,), (INF,)),
    ("abs", (0.0,), (0,)),
    ("sign", (0.0,), (0,)),
    ("floor", (2.0,), (0,)),
    ("round", (2.5,), (0,)),
    ("relu", (0.0,), (0,)),
    ("asin", (1.0,), (INF,)),
    ("acos", (-1.0,), (-INF,)),
    ("acosh", (1.0,), (INF,)),
    ("atanh", (-1.0,), (INF,)),
    ("atan2", (0.0, 0.0), (0, 0)),
    ("atan2", (0.0, -2.0), (-0.5, 0)),
    ("maximum", (1.0, 1.0), (0.5, 0.5)),
    ("minimum", (1.0, 1.0), (0.5, 0.5)),
    ("maximum", (NAN, 1.0), (1, 1)),
    ("minimum", (1.0, NAN), (1, 1)),
    ("clip", (0.0, 0.0, 1.0), (1, 0, 0)),
    ("clip", (1.0, 0.0, 1.0), (1, 0, 0)),
    ("clip", (1.5, 0.0, 1.0), (0, 0, 1)),
    ("clip", (-0.5, 0.0, 1.0), (0, 1, 0)),
    ("clip", (1.5, 2.0, 1.0), (0, 0, 1)),
    ("remainder", (5.5, 2.0), (1, -2)),
    ("remainder", (-5.5, 2.0), (1, 3)),
    ("pow", (0.0, 0.0), (0, 0)),
    ("pow", (0.0, 1.0), (1, 0)),
    ("pow", (0.0, 2.0), (0, 0)),
    ("pow", (0.0, 0.5), (INF, 0)),
    ("pow", (0.0, -1.0), (-INF, -INF)),
    ("pow", (-2.0, 0.0), (0, NAN)),
    ("pow", (-2.0, 3.0), (12, NAN)),
    ("pow", (INF, 0.0), (0, INF)),
)


def gradient(build, *values, disconnected="error"):
    inputs = [graphc.input(f"x{k}", np.shape(v), "float64") for k, v in enumerate(values)]
    gradients = graphc.grad(build(*inputs).sum(), inputs, disconnected=disconnected)
    return [g.eval(dict(zip(inputs, values, strict=True))).tolist() for g in gradients]


slopes = pytest.mark.parametrize(("name", "point", "wanted"), SLOPES, ids=[f"{name}{at}" for name, at, _ in SLOPES])


@slopes
def test_slopes_at_corners(name, point, wanted):
    got = gradient(getattr(graphc, name), *point, disconnected="zeros")
    np.testing.assert_allclose(got, wanted, rtol=1e-15)


@slopes
def test_pytorch_has_these_slopes(name, point, wanted):
    torch = pytest.importorskip("torch")
    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point]
    got = torch.autograd.grad(getattr(torch, name)(*inputs), inputs)
    np.testing.assert_allclose([g.item() for g in got], wanted, rtol=1e-15)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 2.5, 20.0])
def test_a_constant_exponent_keeps_the_logarithm_out(exponent):
    x, y = graphc.input("x", (2,), "float64"), graphc.input("y", (), "float64")
    at = np.array([0.0, -0.0])
    wanted = np.full(2, 1.0 if exponent == 1 else 0.0)
    assert graphc.grad((x**exponent).sum(), x, disconnected="zeros").eval({x: at}).tolist() == wanted.tolist()
    (slope,) = (graphc.grad((x**y).sum(), x),)
    assert slope.eval({x: at, y: exponent}).tolist() == wanted.tolist()
    second = graphc.grad(slope.sum(), x).eval({x: at, y: exponent})
    assert second.tolist() == [2.0 if exponent == 2 else 0.0] * 2


def test_the_slope_of_a_power_depends_on_both_where_the_exponent_is_zero():
    x, y = graphc.input("x", (), "float64"), graphc.input("y", (), "float64")
    mixed = graphc.grad(graphc.grad(graphc.pow(x, y), x), y)
    assert mixed.eval({x: 4.0, y: 0.0}) == 0.25
    for tiny in (5e-324, 1e-310, 1e-200):
        assert graphc.grad(graphc.pow(x, y), x).eval({x: tiny, y: 0.0}) == 0


def test_where_multiplies_the_slope_of_what_is_not_chosen_by_zero():
    # As in PyTorch and JAX: log has an infinite slope at 0, and 0 * inf is NaN. A safe operand keeps it out.
    assert np.isnan(gradient(lambda x: graphc.where(x > 0, graphc.log(x), 0.0), [0.0])[0][0])
    safe = gradient(
        lambda x: graphc.where(x > 0, graphc.log(graphc.where(x > 0, x, 1.0)), 0.0), [0.0, 2.0], disconnected="zeros"
    )
    assert safe == [[0.0, 0.5]]
    # A branch that is NaN itself does no harm where its slope is finite.
    assert gradient(lambda x: graphc.where(x > 0, x, x + NAN), [1.0]) == [[1.0]]


def test_maximum_and_minimum_give_each_side_half_of_a_tie():
    assert gradient(graphc.maximum, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient(graphc.minimum, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0]) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_max_and_min_share_evenly_among_equals():
    x = [[3.0, 3.0, 1.0, 3.0], [0.0, 1.0, 2.0, 0.0]]
    third = 1 / 3
    assert gradient(lambda x: x.max(1), x) == [[[third, third, 0, third], [0, 0, 1, 0]]]
    assert gradient(lambda x: x.min(1), x) == [[[0, 0, 1, 0], [0.5, 0, 0, 0.5]]]
    x = graphc.input("x", (4,), "float64")
    tangent = graphc.jvp(x.max(), x, graphc.constant(np.array([3.0, 6.0, 100.0, 0.0])))
    assert tangent.eval({x: [1.0, 1.0, 0.0, 1.0]}) == 3


@pytest.mark.parametrize(
    ("build", "at", "slope"),
    [(graphc.relu, 0.0, 0), (graphc.abs, 0.0, 0), (lambda x: x**2.5, 0.0, 0), (lambda x: x**2, 0.0, 0),
     (lambda x: x**0, 0.0, None), (lambda x: graphc.clip(x, 0, 1), 2.0, 0), (graphc.sigmoid, -800.0, 0),
     (graphc.tanh, 800.0, 0)],
)  # fmt: skip
def test_corners(build, at, slope):
    if slope is None:
        with pytest.raises(graphc.GraphError):
            gradient(build, [at])
    else:
        assert gradient(build, [at]) == [[slope]]


def test_the_standard_deviation_of_what_does_not_vary_has_no_slope():
    torch = pytest.importorskip("torch")
    at = np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0], [0.0, NAN, 1.0]])
    x = torch.tensor(at, requires_grad=True)
    torch.std(x, 1, correction=1).sum().backward()
    (got,) = gradient(lambda x: graphc.std(x, 1, correction=1), at)
    np.testing.assert_allclose(got, x.grad.numpy(), rtol=1e-14)
    assert got[0] == [0, 0, 0]
    x = graphc.input("x", (3,), "float64")
    np.testing.assert_array_equal(graphc.std(x).eval({x: at[0]}), 0.0)
    np.testing.assert_array_equal(graphc.hessian(graphc.std(x), x).eval({x: at[0]}), np.zeros((3, 3)))


def test_softmax_family_without_overflow():
    x = np.array([[1e4, -1e4, 1e4], [-INF, 0.0, -INF], [INF, 0.0, 1.0]])
    soft = graphc.softmax(graphc.constant(x[:2])).eval()
    assert soft.tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    total = graphc.logsumexp(graphc.constant(x), 1).eval()
    assert total.tolist() == [1e4 + np.log(2), 0, INF]
    assert graphc.logsumexp(graphc.constant([-INF, -INF]), 0).eval() == -INF
    assert gradient(lambda x: graphc.logsumexp(x, 1), x[:2].tolist()) == [[[0.5, 0, 0.5], [0, 1, 0]]]
    np.testing.assert_array_equal(gradient(lambda x: graphc.softmax(x, 0), [1e4, 1e4, 0.0]), [[0, 0, 0]])


def test_gradients_of_repeated_indices_add_up():
    (x,) = gradient(lambda x: graphc.take(x, [0, 2, 0, -1]), [1.0, 2.0, 3.0])
    assert x == [2, 0, 2]


def test_integers_have_no_gradient_and_casts_pass_it():
    k = graphc.input("k", (2,), "int32")
    with pytest.raises(TypeError):
        graphc.grad(k.astype("float32").sum(), k)
    x = graphc.input("x", (2,), "float32")
    assert graphc.grad(x.astype("float64").sum(), x).dtype is graphc.float32
    with pytest.raises(graphc.GraphError):
        graphc.grad(x.astype("int32").astype("float32").sum(), x)
