"""How one op computes: the closed grammar of seven that `Op.lower` returns and the scheduler matches on.

body ::= Compute(axes, value)               the value at one index; loads name operands by position
       | Contract(domain, left, right, out) out[out(d)] += left[left(d)] * right[right(d)] for d in domain
       | Scatter()                          out[index[j], ...] += updates[j, ...], in the order of j
       | Loop(step, length, ...)            a graph run once for each position of the leading axis
       | Branch(then, otherwise)            one of two graphs, by a scalar
       | While(test, step)                  a graph run as long as another one says so
       | Native(function, scratch, views)   a function over whole arrays: a user's, a library's
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.dims import Axis, Dim, DimExpr
from graphc.loops.expr import Expr
from graphc.records import record

if TYPE_CHECKING:
    from graphc.graph.graph import Graph
    from graphc.graph.types import TensorType


@record
class Compute:
    """The value at the output index `axes`.

    With `ordered` = (combiner, axis, reverse), `value` is what is accumulated along that axis: added, multiplied, or,
    for "affine", an `affine(slope, term)` that makes slope * total + term of the total.

    The axes are named i0, i1, ... in the order of the output's dimensions; axes of reductions inside are named k0, k1, ....
    """

    axes: tuple[Axis, ...]
    value: Expr
    ordered: tuple[str, int, bool] | None = None


@record
class Contract:
    """A bilinear sum over `domain`; each map gives, for each dimension of an array, an affine index over the domain's axes.

    `in_order`: the sum is made from the first position on, as one, for the sake of its bits; `is_share`: it is a share of a sum
    that a loop makes step by step. `is_reduced`: it is made as a reduction, whether a register tile fits or not. `inside`:
    only positions count at which each of these indices lies between 0 and its extent; at others an operand is zero, the other
    one may be infinite.
    """

    domain: tuple[Axis, ...]
    left: tuple[Dim, ...]
    right: tuple[Dim, ...]
    out: tuple[Dim, ...]
    in_order: bool = False
    is_share: bool = False
    is_reduced: bool = False
    inside: tuple[tuple[Dim, Dim], ...] = ()


@record
class Scatter:
    """Rows added at places read from data.

    Operand 0: integer indices, shape (J,); operand 1: updates, shape (J, *rest). The output has shape (size, *rest) and
    is zero where nothing is added. `site` names the operation in an error; with `wraps` a negative index counts from the end.
    """

    site: str
    wraps: bool


@record
class Loop:
    """`step` maps (carries..., slices..., shared...) to (new carries..., results...).

    The operands are the initial carries, the arrays whose leading axis is walked (backwards if `reverse`), and the shared arrays.
    The outputs are the final carries, then the results stacked along a new leading axis of `length`.
    """

    step: Graph
    length: Dim
    carries: int
    slices: int
    reverse: bool


@record
class Branch:
    """Operand 0 is a bool scalar; the others are the inputs of both graphs."""

    then: Graph
    otherwise: Graph


@record
class While:
    """`step` maps (carries..., shared...) to new carries, as long as `test` of the same holds.

    The outputs are the carries.
    """

    test: Graph
    step: Graph


@record
class Native:
    """`function(*outputs, *scratch, *inputs)` fills preallocated arrays.

    It must compile under Numba without allocating or raising. `scratch` are arrays to work in; `views` gives the shapes in
    which the function sees outputs and inputs, if not in their own. One that `reports` gets the run's status block first.
    """

    function: Callable[..., Any]
    scratch: tuple[TensorType, ...] = ()
    views: tuple[tuple[Dim, ...], ...] | None = None
    reports: bool = False


Body: TypeAlias = Compute | Contract | Scatter | Loop | Branch | While | Native


def output_axes(out: TensorType) -> tuple[DimExpr, ...]:
    """Return the loop variables i0, i1, ... of an output's dimensions, as expressions."""
    return tuple(DimExpr.of(Axis(f"i{k}", extent)) for k, extent in enumerate(out.shape))


def compute(out: TensorType, value: Expr, ordered: tuple[str, int, bool] | None = None) -> Compute:
    """Return the Compute body of an output of this type whose loads were written over `output_axes(out)`."""
    return Compute(tuple(Axis(f"i{k}", extent) for k, extent in enumerate(out.shape)), value, ordered)
