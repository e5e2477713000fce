"""Operators and methods of nodes, through a table of builders that the ops fill.

The table breaks the one natural circle: `node + 1` needs the op `add`, and the op needs nodes. The chain rule reaches
builders through it too.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import numpy as np

from graphc.errors import GraphcError, NodeUseError, OptionError
from graphc.graph.elsewhere import OF_NODES, OF_NUMPY, OPTIONS, RENAMED
from graphc.origin import frames_within, here, locate, refuse_attribute

if TYPE_CHECKING:
    from graphc.graph.node import Node

P = ParamSpec("P")
R = TypeVar("R")

BUILDERS: dict[str, Callable[..., Any]] = {}


def located(name: str | None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the errors of a function name the user's line and the operands; `name` is what they call it.

    None stands for the class of what is made, for an `__init__` that classes share. Arguments that the function does
    not take are such an error too, and so is a flag (what is True or False unless given) that is neither: an option of
    another framework that stands in its place would pass for true.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        flags = _flags(function)

        @wraps(function)
        def build_located(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                for flag, place in flags:
                    value = args[place] if place < len(args) else kwargs.get(flag, True)
                    if not isinstance(value, int | np.bool_):
                        form = _form(name or type(args[0]).__name__, function)
                        raise OptionError(f"expected {flag} of {form} to be True or False, got {_shown(value)}")
                return function(*args, **kwargs)
            except GraphcError as error:
                locate(error, name or type(args[0]).__name__, _operands(args))
                raise
            except TypeError as error:
                # One frame: the function never ran, so it is the call that is wrong.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                known = name or type(args[0]).__name__
                text = misfit(error, known, function, kwargs)
                if name is None and any(isinstance(one, Operators) for one in args):
                    text += f"; make it first, and call what is made with nodes: {known}(...)(x)"
                refusal = OptionError(text)
                locate(refusal, known, _operands(args))
                raise refusal from None

        return build_located

    return decorate


def _flags(function: Callable[..., Any]) -> list[tuple[str, int]]:
    """Return the arguments that are True or False unless given, each with its place; of what has none, one beyond all."""
    code = function.__code__
    defaults: Sequence[Any] = function.__defaults__ or []
    names = code.co_varnames[: code.co_argcount]
    start = len(names) - len(defaults)
    flags = [(names[start + k], start + k) for k, default in enumerate(defaults) if isinstance(default, bool)]
    named: dict[str, Any] = function.__kwdefaults__ or {}
    return flags + [(flag, sys.maxsize) for flag, default in named.items() if isinstance(default, bool)]


def _shown(value: Any) -> str:
    return value.describe() if isinstance(value, Operators) else repr(value)


def _operands(args: Iterable[Any]) -> tuple[str, ...]:
    given = [item for arg in args for item in (arg if isinstance(arg, tuple | list) else (arg,))]  # pyright: ignore
    return tuple(item.describe() for item in given if isinstance(item, Operators))  # pyright: ignore


def misfit(error: TypeError, name: str, function: Callable[..., Any], named: Iterable[str]) -> str:
    """Return what is wrong with the arguments of a call, and what the function takes."""
    known = inspect.signature(function).parameters
    advice = [
        f"; {key} is called {RENAMED[key]}" if RENAMED.get(key) in known else f"; {OPTIONS[key]}"
        for key in named
        if key not in known and (RENAMED.get(key) in known or key in OPTIONS)
    ]
    text = str(error).replace(f"{function.__qualname__}()", f"{name}()")
    return f"{text}{''.join(advice)}; expected {_form(name, function)}"


def _form(name: str, function: Callable[..., Any]) -> str:
    """Return how a function is called: its arguments with what they are unless given."""
    known = inspect.signature(function).parameters
    return f"{name}({', '.join(str(one.replace(annotation=one.empty)) for key, one in known.items() if key != 'self')})"


def builder(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function that makes nodes under this name; its errors name the user's line and the operands."""

    def register(function: Callable[P, R]) -> Callable[P, R]:
        BUILDERS[name] = located(name)(function)
        return BUILDERS[name]

    return register


# Of the frames of all that is located: they are calls of one function.
_LOCATED = located("")(lambda: None).__code__


def called() -> str | None:
    """Return which builder the user's line calls; None where what is made derives from others, or none is at work."""
    located = [frame.f_locals["name"] for frame in frames_within() if frame.f_code is _LOCATED]
    return next((name for name in reversed(located) if name in BUILDERS), None)


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the builder registered under this name."""
    return BUILDERS[name](*args, **kwargs)


class Operators:
    """NumPy's operators and methods, each a builder."""

    __slots__ = ()
    __array_priority__ = 1000
    # What stands left of an operator gives way: SciPy's arrays by the former, data frames and series by this.
    __pandas_priority__ = 10_000

    def describe(self) -> str:
        """Return type, origin and maker in one line, for errors."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Node:
        return call("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return call("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return call("subtract", self, other)

    def __rsub__(self, other: Any) -> Node:
        return call("subtract", other, self)

    def __mul__(self, other: Any) -> Node:
        return call("multiply", self, other)

    def __rmul__(self, other: Any) -> Node:
        return call("multiply", other, self)

    def __truediv__(self, other: Any) -> Node:
        return call("divide", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return call("divide", other, self)

    def __floordiv__(self, other: Any) -> Node:
        return call("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return call("floor_divide", other, self)

    def __mod__(self, other: Any) -> Node:
        return call("remainder", self, other)

    def __rmod__(self, other: Any) -> Node:
        return call("remainder", other, self)

    def __divmod__(self, other: Any) -> tuple[Node, Node]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Node, Node]:
        return other // self, other % self

    def __pow__(self, other: Any) -> Node:
        return call("pow", self, other)

    def __rpow__(self, other: Any) -> Node:
        return call("pow", other, self)

    def __matmul__(self, other: Any) -> Node:
        return call("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return call("matmul", other, self)

    def __neg__(self) -> Node:
        return call("negative", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Node:
        return call("abs", self)

    def __round__(self, digits: int | None = None) -> Node:
        return call("round", self, digits or 0)

    def __and__(self, other: Any) -> Node:
        return call("bitwise_and", self, other)

    def __rand__(self, other: Any) -> Node:
        return call("bitwise_and", other, self)

    def __or__(self, other: Any) -> Node:
        return call("bitwise_or", self, other)

    def __ror__(self, other: Any) -> Node:
        return call("bitwise_or", other, self)

    def __xor__(self, other: Any) -> Node:
        return call("bitwise_xor", self, other)

    def __rxor__(self, other: Any) -> Node:
        return call("bitwise_xor", other, self)

    def __lshift__(self, other: Any) -> Node:
        return call("bitwise_left_shift", self, other)

    def __rlshift__(self, other: Any) -> Node:
        return call("bitwise_left_shift", other, self)

    def __rshift__(self, other: Any) -> Node:
        return call("bitwise_right_shift", self, other)

    def __rrshift__(self, other: Any) -> Node:
        return call("bitwise_right_shift", other, self)

    def __invert__(self) -> Node:
        return call("bitwise_invert", self)

    def __lt__(self, other: Any) -> Node:
        return call("less", self, other)

    def __le__(self, other: Any) -> Node:
        return call("less_equal", self, other)

    def __gt__(self, other: Any) -> Node:
        return call("greater", self, other)

    def __ge__(self, other: Any) -> Node:
        return call("greater_equal", self, other)

    def __eq__(self, other: Any) -> Any:
        return call("equal", self, other)

    def __ne__(self, other: Any) -> Any:
        return call("not_equal", self, other)

    # A node is its identity: `==` builds a comparison, so the package compares nodes with `is` alone.
    __hash__ = object.__hash__

    def __getitem__(self, key: Any) -> Node:
        return call("getitem", self, key)

    @property
    def T(self) -> Node:
        """The axes in reverse order."""
        return call("permute_dims", self)

    def transpose(self, *axes: Any) -> Node:
        """Permute the axes; reverse them if none are given."""
        return call("permute_dims", self, _unpack(axes) or None)

    def reshape(self, *shape: Any) -> Node:
        """Return the same elements in another shape; one dimension may be -1."""
        return call("reshape", self, _unpack(shape))

    def astype(self, dtype: Any) -> Node:
        """Convert to a dtype."""
        return call("astype", self, dtype)

    def clip(self, min: Any = None, max: Any = None) -> Node:
        """Limit to the range from min to max; None is no limit."""
        return call("clip", self, min, max)

    def round(self, decimals: int = 0) -> Node:
        """Return the nearest numbers of so many decimals, the even ones of two."""
        return call("round", self, decimals)

    def squeeze(self, axis: Any = None) -> Node:
        """Remove axes of size 1."""
        return call("squeeze", self, axis)

    def flatten(self) -> Node:
        """Return the elements in one dimension."""
        return call("reshape", self, (-1,))

    def ravel(self) -> Node:
        """Return the elements in one dimension."""
        return call("reshape", self, (-1,))

    def swapaxes(self, axis1: int, axis2: int) -> Node:
        """Exchange two axes."""
        return call("swapaxes", self, axis1, axis2)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
        """Return the diagonal of two axes as a new last axis."""
        return call("diagonal", self, offset, axis1, axis2)

    def take(self, indices: Any, axis: int | None = None) -> Node:
        """Return elements of an axis at integer indices."""
        return call("take", self, indices, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Node:
        """Repeat each element along an axis (of the elements in one dimension, for None)."""
        return call("repeat", self, repeats, axis)

    def argsort(self, axis: int = -1, descending: bool = False) -> Node:
        """Return the positions that sort the elements along an axis."""
        return call("argsort", self, axis, descending)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Sum over axes (all, if none are given)."""
        return call("sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Average over axes."""
        return call("mean", self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Multiply over axes (all, if none are given)."""
        return call("prod", self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Node:
        """Return the variance over axes."""
        return call("var", self, axis=axis, keepdims=keepdims, correction=correction)

    def std(self, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Node:
        """Return the standard deviation over axes."""
        return call("std", self, axis=axis, keepdims=keepdims, correction=correction)

    def cumsum(self, axis: int | None = None) -> Node:
        """Return running sums along an axis (it may be left out for one dimension)."""
        return call("cumulative_sum", self, axis)

    def cumprod(self, axis: int | None = None) -> Node:
        """Return running products along an axis (it may be left out for one dimension)."""
        return call("cumulative_prod", self, axis)

    def max(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Return the largest element over axes."""
        return call("max", self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Return the smallest element over axes."""
        return call("min", self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Whether any element over axes is true."""
        return call("any", self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Whether all elements over axes are true."""
        return call("all", self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Return the position of the largest element along an axis."""
        return call("argmax", self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Node:
        """Return the position of the smallest element along an axis."""
        return call("argmin", self, axis=axis, keepdims=keepdims)

    def _refuse(self, use: str, advice: str) -> NoReturn:
        raise NodeUseError(
            f"a node has no value while the graph is built, so {use}; {advice}\n  at {here()}: {self.describe()}"
        )

    if not TYPE_CHECKING:  # A type checker is to report names that there are not.

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(self, name, OF_NODES)

    def __bool__(self) -> bool:
        self._refuse("it is neither true nor false", "choose with graphc.where or graphc.cond, compare nodes with `is`")

    def __iter__(self) -> Any:
        self._refuse("it cannot be iterated", "index it, or walk its leading axis with graphc.scan or graphc.map")

    def __len__(self) -> int:
        self._refuse("it has no len()", "its sizes stand in .shape")

    def __contains__(self, item: object) -> bool:
        self._refuse("`in` cannot search it", "use graphc.any(node == value)")

    def __float__(self) -> float:
        advice = "use graphc's functions instead of those of math, node.eval({input: array}) or graphc.compile"
        self._refuse("float() and math cannot read it", advice)

    def __int__(self) -> int:
        advice = "convert it by node.astype('int64'), or use node.eval({input: array}) or graphc.compile"
        self._refuse("int() cannot read it", advice)

    def __index__(self) -> int:
        self._refuse("it cannot serve as a Python index", "use graphc.take, or node.eval({input: array})")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        advice = "use graphc's functions of the same name (graphc.stack makes one node of several), node.eval or graphc.compile"
        self._refuse("NumPy cannot read it", advice)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # An array to the left of an operator gets here: array + node.
        name: str = ufunc.__name__
        if name in _OPERATORS and method == "__call__" and not options.keys() - {"out"}:
            return call(OF_NUMPY.get(name, name), *inputs)
        self._refuse(f"numpy.{name} cannot read it", _instead(name))

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> NoReturn:
        self._refuse(f"numpy.{function.__name__} cannot read it", _instead(function.__name__))

    def __format__(self, form: str) -> str:
        if form:
            self._refuse(f"it cannot be formatted as {form!r}", "use node.eval({input: array}) or graphc.compile")
        return str(self)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse("it cannot be assigned to", "build a new node with graphc.where or graphc.concat")


# Methods are called with the names of other frameworks' options as well.
for _name, _method in list(vars(Operators).items()):
    if not _name.startswith("_") and inspect.isfunction(_method):
        setattr(Operators, _name, located(_name)(_method))

_OPERATORS = {
    *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
}


def _instead(name: str) -> str:
    name = OF_NUMPY.get(name, name)
    return f"use {f'graphc.{name}' if name in BUILDERS else 'functions of graphc'}, or node.eval({{input: array}})"


def _unpack(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(items[0]) if len(items) == 1 and isinstance(items[0], tuple | list) else items  # pyright: ignore
