"""Dimensions and index expressions: integers, or polynomials over named symbols and loop axes.

    dim  ::= int | DimExpr                    DimExpr = sum of  coefficient * atom^power * ...
    atom ::= Symbol | Axis | FloorDiv | Remainder | Minimum | Maximum

A `Symbol` is a size that a user named ("batch"); it is 0 or more. An `Axis` is a loop variable that runs from 0 to its
extent - 1; with it the same algebra serves shapes and the indices inside kernels. Equality is sound, not complete: two
expressions that compare equal are equal for all sizes; what cannot be decided becomes a `Requirement`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

from graphc.errors import NodeUseError
from graphc.origin import here
from graphc.records import interned

Monomial: TypeAlias = "tuple[tuple[Atom, int], ...]"
Dim: TypeAlias = "int | DimExpr"


@interned
class Atom:
    """What a polynomial is made of."""

    def parts(self) -> tuple[Dim, ...]:
        """The dims inside this atom."""
        return ()

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        """The same atom on other parts, simplified."""
        raise NotImplementedError

    def render(self, name_of: Callable[[Atom], str]) -> str:
        """Python source of this atom."""
        return name_of(self)

    def value(self, parts: tuple[int, ...]) -> int:
        """The number this atom stands for when its parts are known."""
        raise KeyError(str(self))


@interned
class Symbol(Atom):
    """A named size, 0 or more."""

    name: str

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return DimExpr.of(self)

    def __str__(self) -> str:
        return self.name


@interned
class Axis(Atom):
    """A loop variable, from 0 to extent - 1."""

    name: str
    extent: Dim

    def parts(self) -> tuple[Dim, ...]:
        return (self.extent,)

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return DimExpr.of(Axis(self.name, parts[0]))

    def __str__(self) -> str:
        return self.name


@interned
class _Pair(Atom):
    left: Dim
    right: Dim

    # How it is written: an operator between its parts, or a function of them.
    form: ClassVar[str]

    def parts(self) -> tuple[Dim, ...]:
        return (self.left, self.right)

    def render(self, name_of: Callable[[Atom], str]) -> str:
        return self.form.format(render(self.left, name_of), render(self.right, name_of))

    def __str__(self) -> str:
        return f"({self.render(str)})" if self.form.startswith("(") else self.render(str)


class FloorDiv(_Pair):
    """left // right, rounded down."""

    form = "({}) // ({})"

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return floordiv(*parts)

    def value(self, parts: tuple[int, ...]) -> int:
        return parts[0] // parts[1] if parts[1] else 0


class Remainder(_Pair):
    """left % right, with the sign of right."""

    form = "({}) % ({})"

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return remainder(*parts)

    def value(self, parts: tuple[int, ...]) -> int:
        return parts[0] % parts[1] if parts[1] else 0


class Minimum(_Pair):
    """The smaller of two."""

    form = "min({}, {})"

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return minimum(*parts)

    def value(self, parts: tuple[int, ...]) -> int:
        return min(parts)


class Maximum(_Pair):
    """The larger of two."""

    form = "max({}, {})"

    def rebuild(self, parts: tuple[Dim, ...]) -> Dim:
        return maximum(*parts)

    def value(self, parts: tuple[int, ...]) -> int:
        return max(parts)


class DimExpr:
    """A polynomial that is not a plain integer; made by arithmetic on dims, never by hand."""

    __slots__ = ("_atoms", "_axes", "_hash", "_mentioned", "_text", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._atoms: frozenset[Atom] | None = None
        self._axes: frozenset[Axis] | None = None
        self._mentioned: frozenset[Atom] | None = None
        self._text = ""

    @property
    def atoms(self) -> frozenset[Atom]:
        """The atoms at any depth, but for what stands in the extents of axes."""
        if self._atoms is None:
            self._atoms = direct = frozenset(atom for monomial, _ in self.terms for atom, _ in monomial)
            for atom in direct:
                if not isinstance(atom, Axis | Symbol):
                    self._atoms = self._atoms.union(*(atoms(part) for part in atom.parts()))
        return self._atoms

    @property
    def axes(self) -> frozenset[Axis]:
        """The axes among the atoms."""
        if self._axes is None:
            self._axes = frozenset(atom for atom in self.atoms if isinstance(atom, Axis))
        return self._axes

    @property
    def mentioned(self) -> frozenset[Atom]:
        """The atoms at any depth, those in the extents of axes too."""
        if self._mentioned is None:
            self._mentioned = direct = self.atoms
            for atom in direct:
                if isinstance(atom, Axis) and isinstance(atom.extent, DimExpr):
                    self._mentioned |= atom.extent.mentioned
        return self._mentioned

    @staticmethod
    def of(atom: Atom) -> DimExpr:
        """The polynomial that is just this atom."""
        return DimExpr(((((atom, 1),), 1),))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # By the class, not by its name: weak tables still compare keys when the interpreter has cleared the module at its end.
        return (
            self.__class__ is other.__class__ and self._hash == other._hash and self.terms == other.terms  # type: ignore[attr-defined]
        )

    def __add__(self, other: Dim) -> Dim:
        if other == 0:
            return self
        return _from_terms([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -1 * other

    def __rsub__(self, other: Dim) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return DimExpr(tuple((m, a * other) for m, a in self.terms)) if other else 0
        return _from_terms([(_multiply(m, n), a * b) for m, a in self.terms for n, b in _terms(other)])

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return remainder(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return remainder(other, self)

    def __index__(self) -> int:
        raise NodeUseError(
            f"the size {self} is known only when the graph runs, so Python and NumPy cannot count with it; walk an axis "
            "by graphc.scan or graphc.map, draw by graphc.normal(shape), make a number of it by graphc.size(dim)\n"
            f"  at {here()}"
        )

    def __str__(self) -> str:
        if not self._text:
            self._text = render(self, str)
        return self._text

    __repr__ = __str__


def symbol(name: str) -> DimExpr:
    """Return the dimension called `name`."""
    return DimExpr.of(Symbol(name))


def product(dims: Iterable[Dim]) -> Dim:
    """Return the product of dims; 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def floordiv(left: Dim, right: Dim) -> Dim:
    """Return left // right; what divides exactly, or is provably within one step, is simplified."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right if right else 0
    whole, rest = _divide(left, right)
    if rest == 0 or (is_nonnegative(rest) and is_nonnegative(right - rest - 1)):
        return whole
    if isinstance(rest, int) and isinstance(right, int):
        return whole + rest // right
    return whole + DimExpr.of(FloorDiv(rest, right))


def remainder(left: Dim, right: Dim) -> Dim:
    """Return left % right, simplified likewise."""
    if isinstance(left, int) and isinstance(right, int):
        return left % right if right else 0
    rest = _divide(left, right)[1]
    if rest == 0 or (is_nonnegative(rest) and is_nonnegative(right - rest - 1)):
        return rest
    if isinstance(rest, int) and isinstance(right, int):
        return rest % right
    return DimExpr.of(Remainder(rest, right))


def minimum(left: Dim, right: Dim) -> Dim:
    """Return the smaller of two dims."""
    if is_nonnegative(right - left):
        return left
    if is_nonnegative(left - right):
        return right
    return DimExpr.of(Minimum(*sorted((left, right), key=str)))


def maximum(left: Dim, right: Dim) -> Dim:
    """Return the larger of two dims."""
    if is_nonnegative(right - left):
        return right
    if is_nonnegative(left - right):
        return left
    return DimExpr.of(Maximum(*sorted((left, right), key=str)))


@lru_cache(maxsize=65536)
def is_nonnegative(dim: Dim) -> bool:
    """Whether the dim is 0 or more for all sizes and all positions of its axes; False where that cannot be shown.

    An axis occurs only where its extent is 1 or more, so its bounds 0 and extent - 1 may both be used.
    """
    if isinstance(dim, int):
        return dim >= 0
    for atom in _atoms_of(dim):
        if isinstance(atom, Axis | Remainder):
            slope, rest = linear(dim, atom)
            if slope is None:
                continue
            last = (atom.extent if isinstance(atom, Axis) else atom.right) - 1
            if is_nonnegative(slope):
                return is_nonnegative(rest)
            if is_nonnegative(0 - slope):
                return is_nonnegative(rest + slope * last)
            return False
    return all(count >= 0 and all(_is_atom_nonnegative(atom) for atom, _ in monomial) for monomial, count in dim.terms)


def linear(dim: Dim, atom: Atom) -> tuple[Dim | None, Dim]:
    """Split dim into slope * atom + rest; slope is None if dim is not linear in the atom."""
    if isinstance(dim, int) or atom not in dim.atoms:
        return 0, dim
    return _linear(dim, atom)


@lru_cache(maxsize=65536)
def _linear(dim: DimExpr, atom: Atom) -> tuple[Dim | None, Dim]:
    slope: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, count in dim.terms:
        power = dict(monomial).get(atom, 0)
        others = tuple((a, p) for a, p in monomial if a != atom)
        if power > 1 or any(_mentions(a, atom) for a, _ in others):
            return None, dim
        (slope if power else rest).append((others, count))
    return _from_terms(slope), _from_terms(rest)


def substitute(dim: Dim, replacement: Mapping[Atom, Dim] | Mapping[Axis, Dim]) -> Dim:
    """Replace atoms (symbols or axes, those inside divisions too)."""
    if isinstance(dim, int) or not replacement:
        return dim
    mapping: Mapping[Any, Dim] = replacement
    if dim.mentioned.isdisjoint(mapping):
        return dim
    terms: list[tuple[Monomial, int]] = []
    for monomial, count in dim.terms:
        term: Dim = count
        if len(monomial) == 1 and monomial[0][1] == 1 and (new := mapping.get(monomial[0][0])) is not None:
            terms += [(m, c * count) for m, c in _terms(new)]
            continue
        for atom, power in monomial:
            if atom in mapping:
                new = mapping[atom]
            elif parts := atom.parts():
                new = atom.rebuild(tuple(substitute(part, mapping) for part in parts))
            else:
                new = DimExpr.of(atom)
            for _ in range(power):
                term = term * new
        terms += _terms(term)
    return _from_terms(terms)


def atoms(dim: Dim) -> frozenset[Atom]:
    """Return every atom in the dim, at any depth (the extents of axes excepted)."""
    return dim.atoms if isinstance(dim, DimExpr) else frozenset()


def symbols(dim: Dim) -> set[str]:
    """Return the names of the symbols in the dim."""
    return {atom.name for atom in atoms(dim) if isinstance(atom, Symbol)}


def axes(dim: Dim) -> frozenset[Axis]:
    """Return the axes in the dim."""
    return dim.axes if isinstance(dim, DimExpr) else frozenset()


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """Return the number that the dim is when symbols (and axes) have these values; KeyError names one that is missing."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, count in dim.terms:
        for atom, power in monomial:
            if isinstance(atom, Symbol | Axis):
                number = sizes[atom.name]
            else:
                number = atom.value(tuple(evaluate(part, sizes) for part in atom.parts()))
            count *= number**power
        total += count
    return total


def render(dim: Dim, name_of: Callable[[Atom], str]) -> str:
    """Return Python source for the dim, with atoms named by `name_of`."""
    if isinstance(dim, int):
        return str(dim)
    text = ""
    for monomial, count in dim.terms:
        factors = [_factor(atom, name_of) for atom, power in monomial for _ in range(power)]
        if not factors or abs(count) != 1:
            factors.insert(0, str(abs(count)))
        sign = ("-" if count < 0 else "") if not text else (" - " if count < 0 else " + ")
        text += sign + " * ".join(factors)
    return text


def _factor(atom: Atom, name_of: Callable[[Atom], str]) -> str:
    text = atom.render(name_of)
    return text if isinstance(atom, Symbol | Axis) or text.startswith(("min(", "max(")) else f"({text})"


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, DimExpr):
        return dim.terms
    return (((), dim),) if dim else ()


def _from_terms(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    counts: dict[Monomial, int] = {}
    for monomial, count in terms:
        counts[monomial] = counts.get(monomial, 0) + count
    kept = {m: c for m, c in counts.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    if len(kept) == 1:
        return DimExpr(tuple(kept.items()))
    return DimExpr(tuple(sorted(kept.items(), key=lambda item: _place(item[0]))))


@lru_cache(maxsize=65536)
def _place(monomial: Monomial) -> tuple[int, str]:
    """Return what terms are sorted by: higher degrees first, constants last, the order in which people write polynomials."""
    return -sum(power for _, power in monomial), "*".join(f"{atom}^{power}" for atom, power in monomial)


@lru_cache(maxsize=65536)
def _multiply(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _divide(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """Split left into whole * right + rest, taking out of left all terms that a single-term divisor divides."""
    if left == right:
        return 1, 0
    divisor = _terms(right)
    if len(divisor) != 1:
        return 0, left
    (monomial, count) = divisor[0]
    whole: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for m, c in _terms(left):
        powers = dict(m)
        for atom, power in monomial:
            powers[atom] = powers.get(atom, 0) - power
        if c % count == 0 and all(p >= 0 for p in powers.values()):
            whole.append((tuple((a, p) for a, p in powers.items() if p), c // count))
        else:
            rest.append((m, c))
    return _from_terms(whole), _from_terms(rest)


def _atoms_of(dim: Dim) -> list[Atom]:
    return [atom for monomial, _ in _terms(dim) for atom, _ in monomial]


def _mentions(atom: Atom, other: Atom) -> bool:
    return not isinstance(atom, Axis) and any(other in atoms(part) for part in atom.parts())


def _is_atom_nonnegative(atom: Atom) -> bool:
    match atom:
        case FloorDiv() | Minimum():
            return is_nonnegative(atom.left) and is_nonnegative(atom.right)
        case Maximum():
            return is_nonnegative(atom.left) or is_nonnegative(atom.right)
        case Symbol() | Axis() | Remainder():
            return True
        case _:
            return False
