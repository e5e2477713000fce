"""One record for each function of the dialect: its name, type rule, LLVM builder and NumPy twin.

A builder is called with the emitter and the argument values; most builders are formulas over the arithmetic that
`Arithmetic` and `Arrays` share, and then the builder is its own twin. `graphc.simd.expressions` calls the builders,
`graphc.simd.twin` binds every record to Python.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphc.simd.kinds import I64, ArrayType, SimdType

Result = SimdType | ArrayType | None
Rule = Callable[..., Result]


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the dialect.

    `rule` maps argument types to the result's type (None: no result) and raises TypeError. `build` and `twin` take an
    `Emitter` or an `Arrays`, then the arguments.
    """

    name: str
    rule: Rule
    build: Callable[..., Any]
    twin: Callable[..., Any]

    def __repr__(self) -> str:
        return f"simd.{self.name}"

    def infer(self, *types: SimdType) -> Result:
        """Return the result's type; raises TypeError naming this function and its argument types."""
        try:
            return _inferred(self.rule, types)
        except TypeError as error:
            given = ", ".join(str(one) for one in types)
            raise TypeError(f"{self.name}({given}): {error}") from None


@functools.cache
def _inferred(rule: Rule, types: tuple[SimdType, ...]) -> Result:
    return rule(*types)


FUNCTIONS: dict[str, Function] = {}
OPERATORS: dict[Callable[..., Any], Function] = {}


def define(
    name: str,
    rule: Rule,
    build: Callable[..., Any],
    twin: Callable[..., Any] | None = None,
    *operators: Callable[..., Any],
) -> Function:
    """Add a function (and the Python operators that mean it) to the dialect; a formula is its own twin."""
    function = Function(name, rule, build, twin or build)
    FUNCTIONS[name] = function
    for operator in operators:
        OPERATORS[operator] = function
    return function


def define_operator(symbol: str, rule: Rule, build: Callable[..., Any], *operators: Callable[..., Any]) -> None:
    """Give Python operators their meaning in the dialect; NumPy supplies the twin."""
    function = Function(symbol, rule, build, build)
    for operator in operators:
        OPERATORS[operator] = function


# Type rules


def require(condition: bool, expected: str) -> None:
    """Raise TypeError saying what was expected."""
    if not condition:
        raise TypeError(f"expected {expected}")


def equal(*types: SimdType) -> SimdType:
    """All arguments of one type, which is also the result's."""
    require(all(one == types[0] for one in types), "arguments of one type (convert them, or splat the scalar)")
    return types[0]


def numbers(count: int, *kinds: str) -> Rule:
    """`count` arguments of one type, of these kinds."""

    def rule(*types: SimdType) -> SimdType:
        require(len(types) == count, f"{count} arguments")
        require(types[0].kind in kinds, f"one of {', '.join(kinds)}")
        return equal(*types)

    return rule


def comparison(*types: SimdType) -> SimdType:
    """Two arguments of one type; the result is a mask."""
    require(len(types) == 2, "2 arguments")
    return equal(*types).of("b")


def addresses(count: int, *types: SimdType) -> None:
    """`count` i64 scalars."""
    require(len(types) == count and all(one == I64 for one in types), f"{count} i64 scalars")


def mask_of(kind: SimdType, masks: tuple[SimdType, ...]) -> None:
    """At most one mask, with the lanes of `kind`, which is a vector."""
    require(not masks or (masks == (kind.of("b"),) and kind.lanes > 1), f"at most one mask, {kind.of('b')}")
