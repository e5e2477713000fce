"""What is stored is decided once for equal layers, and for itself where anything differs."""

import numpy as np
import pytest

import graphc
from graphc.passes import run_passes
from graphc.schedule.inline import Inliner
from graphc.schedule.scheduling import schedule
from graphc.simd.levels import LEVELS


@pytest.fixture
def decided(monkeypatch):
    """The nodes for which it was looked what their kernels repeat, and those whose sums were asked how they run."""
    seen, repeated, votes = ([], []), Inliner._repeated, Inliner._sums_along

    def note_repeated(self, root, *others, **named):
        seen[0].append(root)
        return repeated(self, root, *others, **named)

    def note_sums_along(self, node):
        seen[1].append(node)
        return votes(self, node)

    monkeypatch.setattr(Inliner, "_repeated", note_repeated)
    monkeypatch.setattr(Inliner, "_sums_along", note_sums_along)
    return seen


def counted(decided, *outputs):
    for seen in decided:
        seen.clear()
    inputs = [x, y]
    schedule(run_passes(graphc.Graph(tuple(inputs), outputs)), LEVELS["x86-64-v4"])
    return tuple(map(len, decided))


x, y = graphc.input("x", ("batch", 32)), graphc.input("y", ("batch", 32))


def normed(count):
    value = x
    for _ in range(count):
        value = value + graphc.softmax(value @ graphc.parameter(np.zeros((32, 32), "float32")), -1) * y
    return value


def test_equal_layers_are_decided_once(decided):
    assert counted(decided, normed(12)) == counted(decided, normed(6))
    assert all(decided)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: x * y, lambda: x * x),
        (lambda: x * y + x, lambda: x * y + y),
        (lambda: graphc.exp(x), lambda: graphc.log(x)),
        (lambda: x[:, :16] * 2.0, lambda: x[:, :16] * 3.0),
        (lambda: x[:, :16], lambda: x[:, 16:]),
        (lambda: x.sum(-1), lambda: x.max(-1)),
        (lambda: graphc.sum(x * y, -1), lambda: graphc.sum(x * x, -1)),
    ],
)
def test_what_differs_is_decided_by_itself(decided, one, other):
    alone = counted(decided, one())
    assert counted(decided, one(), other()) > alone
    assert counted(decided, one(), one()) == alone
