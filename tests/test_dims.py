"""Dimension expressions: canonical forms, soundness of what is simplified and of what is shown to be nonnegative."""

import random

import pytest

from graphc import dims
from graphc.dims import Axis, DimExpr, evaluate, floordiv, maximum, minimum, product, remainder, symbol
from graphc.parsing import parse
from graphc.requirements import Requirement

n, m = symbol("n"), symbol("m")


def axis(name, extent):
    return DimExpr.of(Axis(name, extent))


def test_equal_polynomials_are_equal_and_hash_alike():
    assert (n + 1) * (n - 1) == n * n - 1
    assert hash(n + m) == hash(m + n)
    assert n - n == 0
    assert n * 0 == 0
    assert n != m
    assert 2 * n + 3 - n == n + 3


def test_printed_forms():
    assert str(n * n * 2 - m + 1) == "2 * n * n - m + 1"
    assert str(floordiv(n, 4)) == "((n) // (4))"
    assert str(symbol("batch")) == "batch"


def test_exact_divisions_vanish():
    assert floordiv(4 * n, 4) == n
    assert floordiv(n * m, m) == n
    assert remainder(4 * n, 4) == 0
    assert remainder(n * 6 + 1, 3) == 1
    assert floordiv(4 * n + 3, 4) == n


def test_axes_are_bounded_by_their_extents():
    i = axis("i", n)
    assert dims.is_nonnegative(n - 1 - i)
    assert floordiv(i, n) == 0
    assert remainder(i, n) == i
    j = axis("j", 4)
    assert floordiv(i * 4 + j, 4) == i
    assert remainder(i * 4 + j, 4) == j
    assert not dims.is_nonnegative(i - 1)


def test_minimum_and_maximum():
    assert minimum(n, n + 1) == n
    assert maximum(n, n + 1) == n + 1
    assert maximum(n, 0) == n
    assert evaluate(minimum(n, 5), {"n": 9}) == 5
    assert minimum(n, m) == minimum(m, n)


def test_substitution_reaches_into_divisions_and_extents():
    size = floordiv(n + 1, 2) * m
    atom = dims.Symbol("n")
    assert dims.substitute(size, {atom: 7}) == 4 * m
    i = dims.substitute(axis("i", n), {atom: 3})
    assert next(iter(dims.axes(i))).extent == 3


def test_products_and_symbols():
    assert product([]) == 1
    assert product([2, n, 3]) == 6 * n
    assert dims.symbols(n * floordiv(m, 3)) == {"n", "m"}


def test_missing_sizes_are_named():
    with pytest.raises(KeyError, match="m"):
        evaluate(n + m, {"n": 1})


@pytest.mark.parametrize(
    ("relation", "left", "right", "sizes", "holds"),
    [("==", n, 3, {"n": 3}, True), ("==", n, 3, {"n": 4}, False), (">=", n, 3, {"n": 2}, False),
     ("divides", 4, n, {"n": 8}, True), ("divides", 4, n, {"n": 9}, False), ("divides", n, 0, {"n": 0}, True)],
)  # fmt: skip
def test_requirements(relation, left, right, sizes, holds):
    assert Requirement(left, relation, right, "test", "here").holds(sizes) is holds


def grow(generator, depth):
    if depth == 0 or generator.random() < 0.2:
        return generator.choice([n, m, generator.randint(-3, 5), axis("i", n + 1), axis("j", 3)])
    left, right = grow(generator, depth - 1), grow(generator, depth - 1)
    match generator.randrange(7):
        case 0 | 1:
            return left + right
        case 2:
            return left - right
        case 3:
            return left * right
        case 4:
            return floordiv(left, generator.randint(1, 4))
        case 5:
            return remainder(left, generator.randint(1, 4))
        case _:
            return generator.choice([minimum, maximum])(left, right)


def plain(generator, depth, sizes):
    """The same expression as `grow` makes from this generator, and its value by Python's integers."""
    if depth == 0 or generator.random() < 0.2:
        chosen = generator.choice([0, 1, (generator.randint(-3, 5),), 3, 4])
        if isinstance(chosen, tuple):
            return chosen[0]
        return {0: sizes["n"], 1: sizes["m"], 3: sizes["i"], 4: sizes["j"]}[chosen]
    left, right = plain(generator, depth - 1, sizes), plain(generator, depth - 1, sizes)
    match generator.randrange(7):
        case 0 | 1:
            return left + right
        case 2:
            return left - right
        case 3:
            return left * right
        case 4:
            return left // generator.randint(1, 4)
        case 5:
            return left % generator.randint(1, 4)
        case _:
            return generator.choice([min, max])(left, right)


@pytest.mark.parametrize("seed", range(300))
def test_simplification_and_signs_are_sound(seed):
    expression = grow(random.Random(seed), 4)
    positive = dims.is_nonnegative(expression)
    sizes_of = random.Random(seed + 1000)
    for _ in range(12):
        sizes = {"n": sizes_of.randint(0, 6), "m": sizes_of.randint(0, 6), "j": sizes_of.randint(0, 2)}
        sizes["i"] = sizes_of.randint(0, sizes["n"])
        value = evaluate(expression, sizes)
        assert value == plain(random.Random(seed), 4, sizes)
        assert value >= 0 or not positive


@pytest.mark.parametrize("name", ["batch", "in", "None", "lambda", "print", "größe"])
def test_what_is_printed_can_be_read_again_whatever_the_symbols_are_called(name):
    n = dims.symbol(name)
    for dim in (n, 3 * n * n - 2, dims.floordiv(n + 1, 2), dims.minimum(dims.remainder(n, 7), 5)):
        assert parse(str(dim)) == dim
