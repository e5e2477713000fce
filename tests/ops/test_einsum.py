"""The order of contractions against NumPy's optimal one, and what einsum does with symbols."""

import re

import numpy as np
import pytest

import graphc
from graphc.graph import walk
from graphc.ops.contraction import Contract
from graphc.ops.order import pairwise_order


def _letters(subscripts):
    terms, result = subscripts.split("->")
    return [frozenset(term) for term in terms.split(",")], frozenset(result)


def _numpy_cost(subscripts, sizes):
    arrays = [np.empty([sizes[one] for one in term]) for term in subscripts.split("->")[0].split(",")]
    _, report = np.einsum_path(subscripts, *arrays, optimize=("optimal", 10**18))
    return float(re.search(r"Optimized FLOP count: *(\S+)", report)[1])


def _replayed(subscripts, sizes, path):
    """What the steps of a path cost, by the definition: sizes of all letters in a step, twice if it sums."""
    terms, result = _letters(subscripts)
    alive = dict(enumerate(terms))
    total = 0
    for step, (a, b) in enumerate(path):
        union = alive.pop(a) | alive.pop(b)
        kept = union & result.union(*alive.values())
        total += int(np.prod([sizes[one] for one in union], dtype=object)) * (2 if kept != union else 1)
        alive[len(terms) + step] = kept
    assert len(alive) == 1
    return total


def _random_product(generator, count):
    letters = "abcdefghij"[: generator.integers(3, 9)]
    sizes = {one: int(generator.integers(2, 9)) for one in letters}
    terms = ["".join(generator.permutation(list(letters))[: generator.integers(1, 4)]) for _ in range(count)]
    every = "".join(terms)
    result = "".join(one for one in sorted(set(every)) if every.count(one) == 1 or generator.random() < 0.2)
    return ",".join(terms) + "->" + result, sizes


def test_the_order_costs_no_more_than_numpys_optimal():
    generator = np.random.default_rng(3)
    for _ in range(60):
        subscripts, sizes = _random_product(generator, int(generator.integers(2, 7)))
        path, cost = pairwise_order(*_letters(subscripts), sizes)
        assert cost == _replayed(subscripts, sizes, path)
        assert cost <= _numpy_cost(subscripts, sizes) * 1.001, (subscripts, sizes)


def test_many_operands_are_ordered_greedily_and_well():
    generator = np.random.default_rng(4)
    for _ in range(5):
        subscripts, sizes = _random_product(generator, 10)
        path, cost = pairwise_order(*_letters(subscripts), sizes)
        assert cost == _replayed(subscripts, sizes, path)
    chain = ",".join(f"{a}{b}" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)) + "->al"
    sizes = dict.fromkeys("abcdefghijkl", 50) | {"l": 1}
    _, cost = pairwise_order(*_letters(chain), sizes)
    assert cost == 10 * 2 * 50 * 50  # matrix times vector, ten times


def test_symbols_count_as_a_thousand():
    n = graphc.symbol("n")
    terms, result = _letters("ij,jk,kl->il")
    assert pairwise_order(terms, result, {"i": n, "j": 3, "k": n, "l": 2})[0] == [(1, 2), (0, 3)]
    assert pairwise_order(terms, result, {"i": 2, "j": 3, "k": n, "l": n})[0] == [(0, 1), (2, 3)]


def test_a_chain_with_symbols_is_contracted_from_its_small_end():
    x, w, v = (graphc.input(*one) for one in (("x", ("n", 4)), ("w", (4, "m")), ("v", ("m",))))
    y = graphc.einsum("ij,jk,k->i", x, w, v)
    shapes = [node.shape for node in walk.topological([y]) if isinstance(node.op, Contract)]
    assert shapes == [(4,), x.shape[:1]]
    arrays = [np.random.default_rng(k).normal(size=s).astype("float32") for k, s in enumerate([(5, 4), (4, 7), (7,)])]
    wanted = arrays[0] @ (arrays[1] @ arrays[2])
    np.testing.assert_allclose(graphc.compile([x, w, v], y)(*arrays), wanted, rtol=1e-5)
    with pytest.raises(graphc.GraphcError, match="m"):
        graphc.compile([x, w, v], y)(arrays[0], arrays[1], arrays[2][:3])


def test_a_symbol_and_a_number_of_one_letter_must_be_equal():
    x, y = graphc.input("x", ("n", "k")), graphc.input("y", (3, 4))
    call = graphc.compile([x, y], graphc.einsum("ij,jk", x, y))
    a, b = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")
    np.testing.assert_array_equal(call(a, b), a @ b)
    with pytest.raises(graphc.GraphcError, match="k == 3"):
        call(np.ones((2, 5), "float32"), b)
