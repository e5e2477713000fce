"""Losses."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, GraphError, ShapeError


def numpy_cross_entropy(logits, labels):
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, labels[..., None], -1)[..., 0]


def test_cross_entropy_and_its_gradient():
    x, y = graphc.input("x", ("n", 5), "float64"), graphc.input("y", ("n",), "int32")
    rng = np.random.default_rng(0)
    feeds = {x: rng.normal(size=(7, 5)) * 3, y: rng.integers(0, 5, 7)}
    each = numpy_cross_entropy(feeds[x], feeds[y])
    for reduction, expected in (("mean", each.mean()), ("sum", each.sum()), ("none", each)):
        np.testing.assert_allclose(nn.cross_entropy(x, y, reduction).eval(feeds), expected)
    probabilities = np.exp(feeds[x]) / np.exp(feeds[x]).sum(-1, keepdims=True)
    gradient = graphc.grad(nn.cross_entropy(x, y), x).eval(feeds)
    np.testing.assert_allclose(gradient, (probabilities - np.eye(5)[feeds[y]]) / 7)


def test_cross_entropy_is_stable():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int64")
    loss = nn.cross_entropy(x, y, "none")
    data = np.array([[1e4, 0, -1e4], [1e4, 0, -1e4], [-np.inf, 0, 0]], "f")
    got = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], {x: data, y: [0, 2, 1]})
    np.testing.assert_allclose(got[0], [0, 2e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(got[1], [[0, 0, 0], [1, 0, -1], [0, -0.5, 0.5]], atol=1e-6)


def test_cross_entropy_checks_types_and_labels():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int32")
    with pytest.raises(IndexError):
        nn.cross_entropy(x, y).eval({x: np.zeros((2, 3), "f"), y: [0, 3]})
    step = graphc.compile([x, y], nn.cross_entropy(x, y))
    for wrong in (3, -1):
        with pytest.raises(IndexError):
            step(np.zeros((2, 3), "f"), [0, wrong])
    with pytest.raises(DTypeError, match="integer labels"):
        nn.cross_entropy(x, y.astype("float32"))
    with pytest.raises(ShapeError, match="one dimension more"):
        nn.cross_entropy(x, graphc.input("z", ("n", 3), "int32"))
    with pytest.raises(GraphError, match="reduction"):
        nn.cross_entropy(x, y, "average")
