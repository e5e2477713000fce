"""Scalar expressions: what a kernel computes at one index.

    expr ::= Const(value)                         a number
           | Index(dim)                           the int64 value of an index expression
           | Load(source, index, guard?)          one element of an array; 0 where the guard is false, and then not read
           | Apply(function, args)                a scalar function of `graphc.simd`, by name
           | Check(value, size, site, wraps)      an index read from data: wrapped if negative and so allowed, range-checked
           | Reduce(combiner, axes, values)       a reduction over axes that are bound here
           | Pick(values, position)               one component of a Reduce with several values

Expressions are interned: equal ones are one object, so sharing is by identity and a graph of any depth is cheap to
compare. Index expressions are `dims`; an index that was read from data stands in them as a `Loaded` atom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.dtypes import DType, bool_, int64
from graphc.records import interned, names_of, slotted, structure

E = TypeVar("E", bound="Expr")


class _Kept:
    """What is kept with an expression.

    `operands` are the expressions directly inside, those in index expressions too; `free` the axes that it uses and does not
    bind; `below` is for `walk`.
    """

    __slots__ = ("__weakref__", "below", "free", "operands")
    operands: tuple[Expr, ...]
    free: frozenset[Axis]
    below: tuple[Expr, ...] | None


@slotted
class Expr(_Kept):
    """An interned scalar expression with a dtype. Make one with its class's `of`."""

    dtype: DType
    _table: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()

    @classmethod
    def of(cls: type[E], *values: Any) -> E:
        """Return the one expression of this class with these fields."""
        key = cls._key(*values)
        found = cls._table.get(key)
        if found is None:
            found = cls._table[key] = cls(*values)._completed()
        return found

    @classmethod
    def _key(cls, *values: Any) -> tuple[Any, ...]:
        return (cls, *values)

    def _completed(self) -> Self:
        # Kept with the expression, for what walks expressions asks for them again and again.
        operands = _operands(self)
        object.__setattr__(self, "operands", operands)
        object.__setattr__(self, "free", _free(self, operands))
        object.__setattr__(self, "below", None)
        return self


@slotted
class Const(Expr):
    """A number."""

    value: bool | int | float

    @classmethod
    def _key(cls, *values: Any) -> tuple[Any, ...]:
        # 0.0 == -0.0 and True == 1 in Python, but they are different constants: repr keeps them apart.
        return (cls, *map(repr, values))


@slotted
class Index(Expr):
    """The int64 value of an index expression."""

    dim: Dim


@slotted
class Load(Expr):
    """One element of `source`: an operand's position in a body, a buffer's number in a kernel."""

    source: Any
    index: tuple[Dim, ...]
    guard: Expr | None = None


@slotted
class Apply(Expr):
    """A scalar function of the SIMD dialect."""

    function: str
    args: tuple[Expr, ...]


@slotted
class Check(Expr):
    """An integer made a safe index of an axis of `size`; `site` names the operation in the error.

    With `wraps` a negative one counts from the end, else it is out of range.
    """

    value: Expr
    size: Dim
    site: str
    wraps: bool
    guard: Expr | None = None


@slotted
class Reduce(Expr):
    """A reduction: combiner is add, multiply, maximum, minimum, and, or, argmax (the axis position of the largest) or dot.

    The last adds products that are not rounded before. `order`: "along", totals are one for each lane, which run along the last
    axis, and are then put together; "across", each result has totals of its own, to which positions come in turn; "chain", it has
    one, to which they come one after another. Kernels keep to that where it matters, for sums and products of floats.
    """

    combiner: str
    axes: tuple[Axis, ...]
    value: Expr
    order: str

    @property
    def along(self) -> bool:
        """Whether lanes run along the last axis."""
        return self.order == "along"

    @property
    def rounds(self) -> bool:
        """Whether the order, in which values are combined, can be seen in the result."""
        return self.dtype.is_float and self.combiner in ("add", "multiply", "dot")

    def again(self, axes: tuple[Axis, ...], value: Expr) -> Reduce:
        """Return the same reduction of another value."""
        return Reduce.of(self.dtype, self.combiner, axes, value, self.order)


@interned
class Loaded(Atom):
    """An index that was read from data, inside an index expression."""

    expr: Expr

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return DimExpr.of(self)

    def __str__(self) -> str:
        # Terms of an index stand in the order of these texts: of an address it would be another in each process, and so
        # would the source of kernels, by which objects are found in the cache.
        found = _digests.get(self.expr)
        if found is None:
            found = _digests[self.expr] = _digest(self.expr)
        return f"loaded{found}"


_digests: WeakKeyDictionary[Expr, str] = WeakKeyDictionary()


def _digest(root: Expr) -> str:
    """Return a text that equal expressions have in every process, and others have not."""
    known: dict[Expr, str] = {}

    def text(value: Any) -> str:
        match value:
            case Expr():
                return known[value]
            case tuple():
                return f"({','.join(text(item) for item in value)})"  # pyright: ignore[reportUnknownVariableType]
            case Axis(name, extent):
                return f"{name}<{extent}"
            case _:
                # The source of a load may be a node, whose own text says where it was made: its number tells more.
                return str(getattr(value, "serial", value))

    for expr in walk(root):
        values = [getattr(expr, name) for name in names_of(expr)]
        content = f"{type(expr).__name__}{text(tuple(values))}"
        known[expr] = blake2b(content.encode(), digest_size=16).hexdigest()
    return known[root]


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


def check(value: Expr, size: Dim, site: str, *, wraps: bool = True) -> Dim:
    """Return an index, read from data, as an atom for index expressions."""
    return DimExpr.of(Loaded(Check.of(int64, cast(value, int64), size, site, wraps)))


def reduce(
    combiner: str, over: tuple[Axis, ...], value: Expr, dtype: DType | None = None, order: str = "across"
) -> Expr:
    """Return the reduction of value over these axes."""
    return Reduce.of(dtype or value.dtype, combiner, over, value, order)


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


def _operands(expr: Expr) -> tuple[Expr, ...]:
    match expr:
        case Apply():
            return expr.args
        case Load():
            return loaded(*expr.index) if expr.guard is None else (*loaded(*expr.index), expr.guard)
        case Index():
            return loaded(expr.dim)
        case Check():
            found = (expr.value, *loaded(expr.size))
            return found if expr.guard is None else (*found, expr.guard)
        case Reduce():
            return (expr.value,)
        case _:
            return ()


def _free(expr: Expr, operands: tuple[Expr, ...]) -> frozenset[Axis]:
    used = frozenset[Axis]()
    for inner in (*map(dims.axes, index_dims(expr)), *[operand.free for operand in operands]):
        if not inner <= used:
            used = used | inner if used else inner
    return used - frozenset(expr.axes) if isinstance(expr, Reduce) else used


def index_dims(expr: Expr) -> tuple[Dim, ...]:
    """Return the index expressions written directly in this expression."""
    match expr:
        case Index(_, dim):
            return (dim,)
        case Load(_, _, at, _):
            return at
        case Check(_, _, size, _, _, _):
            return (size,)
        case _:
            return ()


@structure
class Rewriter:
    """Replaces atoms (axes above all) in expressions; equal parts are rewritten once.

    `on_load` maps loads after their indices were rewritten, `then` every expression after its parts were; `rename` gives
    new names to the axes that reductions bind; with `guard`, every index check is made only where that guard holds too.
    """

    axes: Mapping[Atom, Dim] | Mapping[Axis, Dim]
    on_load: Callable[[Load], Expr] | None = None
    rename: Callable[[str], str] = str
    guard: Expr | None = None
    memo: dict[Expr, Expr] | None = None
    then: Callable[[Expr], Expr] | None = None

    def __call__(self, expr: Expr) -> Expr:
        """Return the rewritten expression."""
        memo = self.memo
        if memo is None:
            memo = self.memo = {}
        found = memo.get(expr)
        if found is None:
            new = self._rewritten(expr)
            found = memo[expr] = new if self.then is None else self.then(new)
        return found

    def dim(self, dim: Dim) -> Dim:
        """Return the rewritten index expression."""
        if isinstance(dim, int):
            return dim
        loaded: dict[Atom, Dim] = {a: DimExpr.of(Loaded(self(a.expr))) for a in dim.atoms if isinstance(a, Loaded)}
        if not loaded:
            return dims.substitute(dim, self.axes)
        replacement: dict[Atom, Dim] = dict(self.axes.items())
        return dims.substitute(dim, replacement | loaded)

    def _rewritten(self, expr: Expr) -> Expr:
        match expr:
            case Index(_, inner):
                return index(self.dim(inner))
            case Load(dtype, source, at, guard):
                new = Load.of(dtype, source, tuple(self.dim(i) for i in at), None if guard is None else self(guard))
                return new if self.on_load is None else self.on_load(new)
            case Apply(dtype, function, args):
                return Apply.of(dtype, function, tuple(self(a) for a in args))
            case Check(dtype, value, size, site, wraps, guard):
                joint = both(self.guard, None if guard is None else self(guard))
                return Check.of(dtype, self(value), self.dim(size), site, wraps, joint)
            case Reduce(_, _, over, value):
                bound = {a: Axis(self.rename(a.name), self.dim(a.extent)) for a in over}
                inner_axes: dict[Atom, Dim] = dict(self.axes.items())
                inner_axes.update((a, DimExpr.of(b)) for a, b in bound.items())
                # What a reduction holds is rewritten under another mapping, so it must not share the memo.
                again = Rewriter(inner_axes, self.on_load, self.rename, self.guard, None, self.then)
                return expr.again(tuple(bound.values()), again(value))
            case _:
                return expr


def rewrite(
    expr: Expr, axes: Mapping[Atom, Dim] | Mapping[Axis, Dim], on_load: Callable[[Load], Expr] | None = None
) -> Expr:
    """Replace axes (and other atoms) in an expression and, with `on_load`, its loads after their indices were rewritten."""
    return Rewriter(axes, on_load)(expr)


def guard_checks(value: Expr, guard: Expr) -> Expr:
    """Return the value with its index checks made only where the guard holds."""
    if not any(isinstance(inner, Check) for inner in walk(value)):
        return value
    return Rewriter({}, guard=guard)(value)


def walk(*roots: Expr) -> Iterator[Expr]:
    """Yield every expression below the roots once, operands first."""
    if len(roots) != 1:
        return _walk(roots)
    (root,) = roots
    if root.below is None:
        # Bodies are walked again and again. Without the root itself, which would then hold itself.
        object.__setattr__(root, "below", tuple(_walk(root.operands)))
    return iter((*(root.below or ()), root))


def _walk(roots: Sequence[Expr]) -> Iterator[Expr]:
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        expr, ready = stack.pop()
        if ready:
            yield expr
        elif id(expr) not in seen:
            seen.add(id(expr))
            stack.append((expr, True))
            stack.extend([(operand, False) for operand in expr.operands])


def loaded(*index: Dim) -> tuple[Expr, ...]:
    """Return the expressions that these index expressions read from data, in an order that is the same in every process."""
    found = [[atom for atom in dims.atoms(dim) if isinstance(atom, Loaded)] for dim in index]
    return tuple(atom.expr for atoms in found for atom in sorted(atoms, key=str))
