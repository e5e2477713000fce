"""Sums of terms c * exp(i * x + j * L), as `exponentials` works with them."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.graph.node import Node
from graphc.passes.algebra.matching import filled, uniform

Power = tuple[int, int]
Factor = tuple[int, "Node | None"]  # a count, and what is counted, None for 1
Terms = dict[Power, Factor]  # the factor of exp(i * x + j * L)
ONE: Factor = (1, None)


@dataclass(frozen=True)
class Form:
    """A node as terms of one group; `axes`: for each of its axes the axis of x that it is, None where its size is 1.

    `has_sum`: a factor is a sum over x, so x is not lost where no power of it is left.
    """

    terms: Terms
    axes: tuple[int | None, ...]
    has_sum: bool = False


def factor_of(node: Node) -> Factor:
    """Return a node as a factor."""
    value = uniform(node)
    return (int(value), None) if value in (1, -1) else (1, node)


def product(left: Factor, right: Factor) -> Factor:
    """Return left * right."""
    count = left[0] * right[0]
    if left[1] is None or right[1] is None:
        return count, left[1] if right[1] is None else right[1]
    return count, left[1] * right[1]


def quotient(left: Factor, right: Factor) -> Factor:
    """Return left / right, whose count is 1 or -1."""
    count = left[0] * right[0]
    if right[1] is None:
        return count, left[1]
    return count, (filled(1, right[1]) if left[1] is None else left[1]) / right[1]


def merged(left: Terms, right: Terms, sign: int) -> Terms:
    """Return left + sign * right."""
    terms = dict(left)
    for power, (other, factor) in right.items():
        if power not in terms:
            terms[power] = (sign * other, factor)
            continue
        mine, old = terms[power]
        if old is factor:
            terms[power] = mine + sign * other, factor
            continue
        like = old if factor is None else factor
        assert like is not None
        scaled = (
            filled(mine, like) if old is None else mine * old,
            filled(other, like) if factor is None else other * factor,
        )
        terms[power] = 1, scaled[0] + sign * scaled[1]
    return terms


def is_one(factor: Factor) -> bool:
    """Whether a factor is 1."""
    return factor[0] == 1 and factor[1] is None  # never by ==, which makes a node of nodes


def is_pure(form: Form) -> bool:
    """Whether a form is a single power, once."""
    return len(form.terms) == 1 and all(map(is_one, form.terms.values()))
