"""Equal contractions have one tiling, which is looked for once; others do not share it."""

import itertools

import numpy as np
import pytest

import graphc
from graphc.passes import run_passes
from graphc.schedule import tilings
from graphc.schedule.scheduling import schedule
from graphc.simd.levels import LEVELS


@pytest.fixture
def looked(monkeypatch):
    """The nests whose candidates were asked for."""
    seen, candidates = [], tilings.candidates

    def noted(nest, *others):
        seen.append(nest)
        return candidates(nest, *others)

    monkeypatch.setattr(tilings, "candidates", noted)
    return seen


def layered(widths, activation=graphc.tanh):
    x = value = graphc.input("x", ("batch", widths[0]))
    for width, (a, b) in enumerate(itertools.pairwise(widths)):
        value = activation(value @ graphc.parameter(np.zeros((a, b), "float32"), f"w{width}"))
    schedule(run_passes(graphc.Graph((x,), (value,))), LEVELS["x86-64-v4"])


def test_equal_layers_are_looked_at_once(looked):
    layered([32] * 6)
    # What the last one is written to is no temporary, but as large.
    assert len(looked) == 1


@pytest.mark.parametrize("widths", [(32, 48, 32, 48), (32, 32, 48, 32, 32, 48)])
def test_layers_of_other_sizes_are_looked_at_by_themselves(looked, widths):
    layered(widths)
    assert len(looked) == len(set(itertools.pairwise(widths)))


def test_a_product_with_itself_is_another_one(looked):
    x, y = graphc.input("x", (32, 32)), graphc.input("y", (32, 32))
    schedule(run_passes(graphc.Graph((x, y), (x @ y, y @ x, x @ x))), LEVELS["x86-64-v4"])
    assert len(looked) == 2
