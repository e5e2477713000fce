"""Scalar expressions: what a kernel computes at one index.

    expr ::= Const(value)                         a number
           | Index(dim)                           the int64 value of an index expression
           | Load(source, index, guard?)          one element of an array; 0 where the guard is false, and then not read
           | Apply(function, args)                a scalar function of `graphc.simd`, by name
           | Check(value, size, site)             an index read from data: wrapped if negative, range-checked
           | Reduce(combiner, axes, values)       a reduction over axes that are bound here
           | Pick(values, position)               one component of a Reduce with several values

Expressions are interned: equal ones are one object, so sharing is by identity and a graph of any depth is cheap to
compare. Index expressions are `dims`; an index that was read from data stands in them as a `Loaded` atom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.dtypes import DType, bool_, int64

E = TypeVar("E", bound="Expr")


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Expr:
    """An interned scalar expression with a dtype. Make one with its class's `of`."""

    dtype: DType
    _table: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()

    @classmethod
    def of(cls: type[E], *values: Any) -> E:
        """Return the one expression of this class with these fields."""
        # 0.0 == -0.0 and True == 1 in Python, but they are different constants: repr keeps them apart.
        key = (cls, *(v if isinstance(v, tuple | Expr | DType | DimExpr | str) else repr(v) for v in values))
        found = cls._table.get(key)
        if found is None:
            found = cls(*values)
            cls._table[key] = found
        return found


@dataclass(frozen=True, eq=False, slots=True)
class Const(Expr):
    """A number."""

    value: bool | int | float


@dataclass(frozen=True, eq=False, slots=True)
class Index(Expr):
    """The int64 value of an index expression."""

    dim: Dim


@dataclass(frozen=True, eq=False, slots=True)
class Load(Expr):
    """One element of `source`: an operand's position in a body, a buffer's number in a kernel."""

    source: Any
    index: tuple[Dim, ...]
    guard: Expr | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Apply(Expr):
    """A scalar function of the SIMD dialect."""

    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Check(Expr):
    """An integer made a safe index of an axis of `size`; `site` names the operation in the error."""

    value: Expr
    size: Dim
    site: str
    guard: Expr | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Reduce(Expr):
    """A reduction: combiner is add, multiply, maximum, minimum, and, or, or argmax (the axis position of the largest)."""

    combiner: str
    axes: tuple[Axis, ...]
    value: Expr


@dataclass(frozen=True)
class Loaded(Atom):
    """An index that was read from data, inside an index expression."""

    expr: Expr

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return DimExpr.of(self)

    def __str__(self) -> str:
        return f"loaded{id(self.expr)}"


def const(value: bool | int | float, dtype: DType) -> Expr:
    """Return a constant of this dtype."""
    match dtype.kind:
        case "f":
            return Const.of(dtype, float(value))
        case "b":
            return Const.of(dtype, bool(value))
        case _:
            return Const.of(dtype, int(value))


def index(dim: Dim) -> Expr:
    """Return the value of an index expression."""
    return Const.of(int64, dim) if isinstance(dim, int) else Index.of(int64, dim)


def load(source: Any, at: tuple[Dim, ...], dtype: DType, guard: Expr | None = None) -> Expr:
    """Return the element of `source` at these indices."""
    return Load.of(dtype, source, at, guard)


def apply(function: str, *args: Expr, dtype: DType | None = None) -> Expr:
    """Return function(*args); the dtype is the last argument's unless it is given."""
    return Apply.of(dtype or args[-1].dtype, function, args)


def cast(value: Expr, dtype: DType) -> Expr:
    """Return the value converted to a dtype."""
    if value.dtype is dtype:
        return value
    return Apply.of(dtype, "cast", (value,))


def check(value: Expr, size: Dim, site: str, guard: Expr | None = None) -> Dim:
    """Return an index, read from data, as an atom for index expressions."""
    return DimExpr.of(Loaded(Check.of(int64, cast(value, int64), size, site, guard)))


def reduce(combiner: str, over: tuple[Axis, ...], value: Expr, dtype: DType | None = None) -> Expr:
    """Return the reduction of value over these axes."""
    return Reduce.of(dtype or value.dtype, combiner, over, value)


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """Return yes where the condition holds, else no."""
    return Apply.of(yes.dtype, "select", (condition, yes, no))


def both(left: Expr | None, right: Expr | None) -> Expr | None:
    """Return the conjunction of two guards, either of which may be absent."""
    if left is None or right is None:
        return left or right
    return left if left is right else Apply.of(bool_, "and", (left, right))


def within(at: Dim, low: Dim, high: Dim) -> Expr | None:
    """Return the guard low <= at < high, or None where it always holds."""
    guard: Expr | None = None
    if not dims.is_nonnegative(at - low):
        guard = Apply.of(bool_, "ge", (index(at), index(low)))
    if not dims.is_nonnegative(high - at - 1):
        guard = both(guard, Apply.of(bool_, "lt", (index(at), index(high))))
    return guard


def children(expr: Expr) -> Iterator[Expr]:
    """Yield the expressions directly inside, those in index expressions too."""
    match expr:
        case Index(_, dim):
            yield from _loaded(dim)
        case Load(_, _, at, guard):
            for dim in at:
                yield from _loaded(dim)
            if guard is not None:
                yield guard
        case Apply(_, _, args):
            yield from args
        case Check(_, value, size, _, guard):
            yield value
            yield from _loaded(size)
            if guard is not None:
                yield guard
        case Reduce(_, _, _, value):
            yield value
        case _:
            pass


def index_dims(expr: Expr) -> tuple[Dim, ...]:
    """Return the index expressions written directly in this expression."""
    match expr:
        case Index(_, dim):
            return (dim,)
        case Load(_, _, at, _):
            return at
        case Check(_, _, size, _, _):
            return (size,)
        case _:
            return ()


def rewrite(
    expr: Expr,
    axes: Mapping[Atom, Dim],
    on_load: Callable[[Load], Expr] | None = None,
    memo: dict[Expr, Expr] | None = None,
) -> Expr:
    """Replace axes (and other atoms) in an expression and, with `on_load`, its loads after their indices were rewritten."""
    memo = {} if memo is None else memo
    if expr in memo:
        return memo[expr]

    def again(inner: Expr) -> Expr:
        return rewrite(inner, axes, on_load, memo)

    def dim(inner: Dim) -> Dim:
        if isinstance(inner, int):
            return inner
        loaded = {a: DimExpr.of(Loaded(again(a.expr))) for a in dims.atoms(inner) if isinstance(a, Loaded)}
        return dims.substitute(inner, {**axes, **loaded})

    result: Expr
    match expr:
        case Index(_, inner):
            result = index(dim(inner))
        case Load(dtype, source, at, guard):
            new = load(source, tuple(dim(i) for i in at), dtype, None if guard is None else again(guard))
            assert isinstance(new, Load)
            result = new if on_load is None else on_load(new)
        case Apply(dtype, function, args):
            result = Apply.of(dtype, function, tuple(again(a) for a in args))
        case Check(dtype, value, size, site, guard):
            result = Check.of(dtype, again(value), dim(size), site, None if guard is None else again(guard))
        case Reduce(dtype, combiner, over, value):
            renamed = tuple(Axis(a.name, dim(a.extent)) for a in over)
            inner_axes = {**axes, **{a: DimExpr.of(b) for a, b in zip(over, renamed, strict=True)}}
            # A reduction binds axes of its own: what it holds is rewritten under another mapping, so not memoised here.
            inner_memo = memo if all(axes.get(a) == inner_axes[a] for a in over) else {}
            result = Reduce.of(dtype, combiner, renamed, rewrite(value, inner_axes, on_load, inner_memo))
        case _:
            result = expr
    memo[expr] = result
    return result


def walk(*roots: Expr) -> Iterator[Expr]:
    """Yield every expression below the roots once, operands first."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        expr, ready = stack.pop()
        if ready:
            yield expr
        elif id(expr) not in seen:
            seen.add(id(expr))
            stack.append((expr, True))
            stack.extend((child, False) for child in children(expr))


def _loaded(dim: Dim) -> Iterator[Expr]:
    for atom in sorted(dims.atoms(dim), key=str):
        if isinstance(atom, Loaded):
            yield atom.expr


assert [f.name for f in fields(Const)] == ["dtype", "value"]
