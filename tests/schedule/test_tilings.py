"""Equal contractions have one tiling, which is looked for once; others do not share it. What is copied into panels."""

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


@pytest.mark.parametrize(
    ("columns", "depth", "is_stored", "panels"),
    [
        (64, 64, False, True),  # the caller's arrays begin anywhere
        (64, 64, True, False),  # graphc's own begin at a line
        (65, 64, True, True),  # but their rows do not
        (64, 32, False, False),  # results take longer than so short a sum
        (65, 32, True, False),
        (10, 64, True, False),  # one vector a row
    ],
)
def test_vectors_across_two_lines_are_copied(looked, columns, depth, is_stored, panels):
    x, b = graphc.input("x", ("batch", depth)), graphc.input("b", (depth, columns))
    inputs = (x,) if is_stored else (x, b)
    if is_stored:
        b = graphc.parameter(np.zeros((depth, columns), "float32"), "b")
    schedule(run_passes(graphc.Graph(inputs, (x @ b,))), LEVELS["x86-64-v4"])
    (nest,) = looked
    assert nest.is_loose != is_stored
    sizes = {nest.left.source: 64 * depth, nest.right.source: depth * columns}
    pick = next(tilings.candidates(nest, LEVELS["x86-64-v4"], sizes.__getitem__))
    assert (pick.roles.pack is not None) == panels


def test_rows_of_a_tile_are_those_of_an_image(looked):
    """With a batch that is known its images would fill tiles better, but each lies on other pages."""
    x, w = graphc.input("x", (32, 32, 32, 16)), graphc.parameter(np.zeros((3, 3, 16, 32), "float32"), "w")
    schedule(run_passes(graphc.Graph((x,), (graphc.conv2d(x, w, stride=2, padding=1),))), LEVELS["x86-64-v4"])
    (nest,) = looked
    sizes = {nest.left.source: 32 * 34 * 34 * 16, nest.right.source: 9 * 16 * 32}
    pick = next(tilings.candidates(nest, LEVELS["x86-64-v4"], sizes.__getitem__))
    assert pick.roles.row.extent == 16


@pytest.mark.parametrize(("rows", "passing"), [("batch", False), (64, True), (256, False)])
def test_all_lanes_pass_at_once_where_the_vector_operand_is_known_to_be_small(looked, rows, passing):
    """Of a batch of any size it may be larger than the cache: 2048 rows took twice as long so."""
    c = graphc.input("c", (rows, 2048))
    a = graphc.input("a", (rows, 2048))
    schedule(run_passes(graphc.Graph((a, c), (a.T @ c,))), LEVELS["x86-64-v4"])
    (nest,) = looked
    size = 2048 * (rows if isinstance(rows, int) else 64)
    every = list(
        tilings.candidates(nest, LEVELS["x86-64-v4"], {nest.left.source: size, nest.right.source: size}.__getitem__)
    )
    assert any(one.roles.passing for one in every) == passing
    assert every[0].roles.passing == passing
