"""The rules of `simplify`, by theme: each takes a node and returns an equal one that costs less or errs less, or None."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from graphc.graph.op import Op
from graphc.passes.algebra import arithmetic, choice, conversion, exponential, movement, nesting, reduction
from graphc.passes.algebra.matching import Rule

# In the order in which they are tried on a node.
THEMES: tuple[ModuleType, ...] = (arithmetic, exponential, choice, conversion, reduction, movement, nesting)
# Those by which floats are added in another order.
REORDERING = frozenset((reduction.reduce_twice, reduction.reduce_moved, reduction.sum_broadcast))


@cache
def rules_of(op: type[Op]) -> tuple[Rule, ...]:
    """Return the rules for a class of ops, in the order to try them: its own, then those for its family."""
    tables: tuple[dict[type[Op], tuple[Rule, ...]], ...] = tuple(theme.RULES for theme in THEMES)
    return tuple(rule for kind in op.__mro__ for table in tables for rule in table.get(kind, ()))
