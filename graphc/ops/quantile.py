"""The quantile function of the normal distribution, as an op."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import bool_
from graphc.graph.node import Node, builder, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.exponential import exp
from graphc.ops.operands import floating

# Wichura, Algorithm AS 241: the percentage points of the normal distribution, Applied Statistics 37 (1988), PPND16.
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def _quantile(p: Any, number: Callable[[float], Any], apply: Callable[..., Any]) -> Any:
    """AS 241 over any arithmetic: `apply` is a scalar function of the dialect, `number` a constant."""

    def ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], at: Any) -> Any:
        sums: list[Any] = []
        for row in coefficients:
            total = number(row[0])
            for coefficient in row[1:]:
                total = apply("add", apply("multiply", total, at), number(coefficient))
            sums.append(total)
        return apply("divide", *sums)

    q = apply("subtract", p, number(0.5))
    centre = apply("subtract", number(0.180625), apply("multiply", q, q))
    smaller = apply("minimum", p, apply("subtract", number(1.0), p))
    r = apply("sqrt", apply("negative", apply("log", smaller)))
    near = ratio(_TAIL, apply("subtract", r, number(1.6)))
    far = ratio(_FAR, apply("subtract", r, number(5.0)))
    tail = apply("select", apply("le", r, number(5.0)), near, far)
    tail = apply("select", apply("lt", q, number(0.0)), apply("negative", tail), tail)
    inside = apply("ge", centre, number(0.0))
    return apply("select", inside, apply("multiply", q, ratio(_CENTRE, centre)), tail)


_NUMPY: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ("add", "subtract", "multiply", "divide", "minimum", "sqrt", "negative", "log")
    },
    **{"select": np.where, "le": np.less_equal, "lt": np.less, "ge": np.greater_equal},
}


def _call_numpy(name: str, *args: Any) -> Any:
    return _NUMPY[name](*args)


def quantile(p: Any) -> Any:
    """Return the normal distribution's quantile of an array of probabilities, by its definition in NumPy."""
    with np.errstate(all="ignore"):
        return _quantile(p, lambda value: np.asarray(value, p.dtype), _call_numpy)


class NormalQuantile(Elementwise):
    """The x below which a standard normal variable lies with probability p."""

    name = "normal_quantile"
    accepts: ClassVar[str] = "f"
    meaning = quantile

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (exp(node * node * 0.5) * math.sqrt(2 * math.pi))

    def scalar(self, *values: Expr) -> Expr:
        (p,) = values

        def apply(name: str, *args: Expr) -> Expr:
            return expr.apply(name, *args, dtype=bool_ if name in ("le", "lt", "ge") else p.dtype)

        return _quantile(p, lambda value: expr.const(value, p.dtype), apply)


@builder("normal_quantile")
def normal_quantile(p: Any) -> Node:
    """Return the x below which a standard normal variable lies with probability p (0 to 1)."""
    return make(NormalQuantile(), floating(p))
