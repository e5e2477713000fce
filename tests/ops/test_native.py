"""Functions of the user over whole arrays: types, derivatives, batches, math, the cache, errors."""

import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import graphc
from graphc.errors import CompileError, GraphcError, GraphError

X = np.linspace(0.1, 3.0, 40)
LIMIT = 1.0


def doubled(out, x):
    for k in range(x.size):
        out[k] = 2 * x[k]


def limited(out, x):
    for k in range(x.size):
        out[k] = min(x[k], LIMIT)


def mathematics(out, x):
    for k in range(x.size):
        v = x[k]
        out[k] = math.exp(v) + math.sin(v) * math.cos(v) + math.pow(v, 1.5) + math.erf(v) + math.lgamma(v) + v**2.5


def test_types_take_names_of_dimensions():
    x = graphc.input("x", ("n",))
    f = graphc.compile([x], graphc.native(doubled, graphc.TensorType(("n",), graphc.float32), x))
    np.testing.assert_array_equal(f(np.ones(3, "float32")), [2, 2, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_functions_of_math_work(dtype):
    x = graphc.input("x", ("n",), dtype)
    node = graphc.native(mathematics, x.type, x)
    values = X.astype(dtype)
    wanted = np.zeros(len(X))
    mathematics(wanted, X)
    np.testing.assert_allclose(node.eval({x: values}), wanted, rtol=1e-5 if dtype == "float32" else 1e-14)
    np.testing.assert_allclose(graphc.compile([x], node)(values), wanted, rtol=1e-5 if dtype == "float32" else 1e-14)


def test_a_warm_start_resolves_the_library_without_numba(tmp_path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
        import math, sys
        if sys.argv[1] == "warm":
            sys.modules["numba"] = None
        import numpy as np
        import graphc

        def function(out, x):
            for k in range(x.size):
                out[k] = math.exp(x[k]) + math.atan2(x[k], 2.0) + math.log1p(x[k]) + math.tanh(x[k])

        x = graphc.input("x", ("n",), "float64")
        values = np.linspace(0.1, 3.0, 40)
        got = graphc.compile([x], graphc.native(function, x.type, x))(values)
        wanted = np.exp(values) + np.arctan2(values, 2.0) + np.log1p(values) + np.tanh(values)
        assert np.allclose(got, wanted, rtol=1e-14), got - wanted
        """)
    )
    environment = {**os.environ, "GRAPHC_CACHE": str(tmp_path / "cache")}
    for start in ("cold", "warm"):
        subprocess.run([sys.executable, "program.py", start], check=True, cwd=tmp_path, env=environment)


def test_several_outputs_of_other_types():
    def split(whole, part, x):
        for k in range(x.size):
            whole[k] = math.floor(x[k])
            part[0, k] = x[k] - math.floor(x[k])

    x = graphc.input("x", ("n",), "float64")
    n = x.shape[0]
    types = (graphc.TensorType((n,), graphc.int32), graphc.TensorType((1, n), graphc.float64))
    whole, part = graphc.native(split, types, x)
    got = graphc.compile([x], [whole, part + 1.0])(X)
    np.testing.assert_array_equal(got[0], np.floor(X).astype("int32"))
    assert got[0].dtype == np.int32
    np.testing.assert_allclose(got[1], (X - np.floor(X))[None] + 1.0, rtol=1e-15)


def test_scalars_are_arrays_without_axes():
    def add(out, x, y):
        out[()] = x[()] + y[1]

    x, y = graphc.input("x", (), "float64"), graphc.input("y", (2,), "float64")
    assert graphc.compile([x, y], graphc.native(add, x.type, x, y))(1.0, np.array([2.0, 3.0])) == 4.0


def test_batches_call_it_for_one_example_after_another():
    rows, scale = graphc.input("rows", ("n", 3)), graphc.input("scale", (3,))

    def scaled(out, x, scale):
        for k in range(x.size):
            out[k] = x[k] * scale[k]

    mapped = graphc.vmap(lambda row: graphc.native(scaled, scale.type, row, scale))(rows)
    values, factors = np.arange(12, dtype="float32").reshape(4, 3), np.array([1, 2, 3], "float32")
    np.testing.assert_array_equal(graphc.compile([rows, scale], mapped)(values, factors), values * factors)


def test_a_captured_value_that_changes_is_compiled_anew(monkeypatch):
    x = graphc.input("x", ("n",), "float64")

    def limits(function):
        return graphc.compile([x], graphc.native(function, x.type, x))(X)

    np.testing.assert_array_equal(limits(limited), np.minimum(X, 1.0))
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 2.0)
    np.testing.assert_array_equal(limits(limited), np.minimum(X, 2.0))

    def closed_over(limit):
        def inner(x):
            return min(x, limit)

        def outer(out, x):
            for k in range(x.size):
                out[k] = inner(x[k])

        import numba

        inner = numba.njit(inner)
        return outer

    for limit in (0.5, 1.5):
        np.testing.assert_array_equal(limits(closed_over(limit)), np.minimum(X, limit))


def test_differentiating_without_a_rule_names_the_function():
    x = graphc.input("x", (40,), "float64")
    y = graphc.native(doubled, x.type, x).sum()
    for derivative in (lambda: graphc.grad(y, x), lambda: graphc.jvp(y, x, X)):
        with pytest.raises(GraphError, match=r"doubled is called by native .* give native\(\.\.\., vjp=rule\)"):
            derivative()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda inputs, output, cotangent: (cotangent, None), "each of 1 operands, got 2"),
        (
            lambda inputs, output, cotangent: (cotangent.sum() * inputs[0].sum(),),
            r"the rule of doubled: expected float32\[3\]",
        ),
    ],
)
def test_rules_are_checked(rule, message):
    x = graphc.input("x", (3,))
    with pytest.raises(GraphcError, match=message):
        graphc.native(doubled, x.type, x, vjp=rule)


def test_wrong_arguments():
    x = graphc.input("x", (3,))
    with pytest.raises(GraphError, match="expected the outputs' types"):
        graphc.native(doubled, x, x)
    with pytest.raises(GraphError, match="expected a function"):
        graphc.native(x.type, x.type, x)


def unknown_method(out, x):
    for k in range(x.size):
        out[k] = x.what(k)


def wrong_kinds(out, x):
    out[0] = x[0] + "text"


def allocating(out, x):
    out[:] = np.sort(x)


@pytest.mark.parametrize(
    ("function", "offset", "message"),
    [
        (unknown_method, 2, "what"),
        (wrong_kinds, 1, "add"),
        (allocating, None, "allocates memory"),
    ],
)
def test_what_does_not_compile_names_the_function_and_the_line(function, offset, message):
    x = graphc.input("x", (3,))
    with pytest.raises(CompileError, match=message) as caught:
        graphc.compile([x], graphc.native(function, x.type, x))(np.ones(3, "float32"))
    text = str(caught.value)
    assert function.__name__ in text
    if offset is not None:
        assert f"test_native.py:{function.__code__.co_firstlineno + offset}" in text
    for noise in ("Traceback", "numba", "nopython"):
        assert noise not in text
    assert caught.value.__cause__ is None
