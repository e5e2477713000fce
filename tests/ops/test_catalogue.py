"""Every row of the catalogue, without the compiler: meaning, types, derivatives to second order, batching, errors."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import graphc
import graphc.ops
from graphc.derivatives import grad, jvp, vmap
from graphc.graph import walk
from graphc.graph.graph import subgraphs
from graphc.graph.op import Op
from graphc.graph.operators import BUILDERS
from graphc.graph.verify import verify
from tests.ops.catalogue import ROWS, Row, cases
from tests.ops.catalogue.row import SPOILS
from tests.ops.test_linalg import FAILURES

FAMILIES = {
    "Elementwise",
    "Factorization",
    "Movement",
    "Reduction",
    "Cumulative",
    "Indexing",
    "Dynamic",
    "Nested",
    "Identity",
}
derivable = pytest.mark.parametrize("row", [row for row in ROWS if row.derivable], ids=lambda row: row.name)


def close(got, wanted, dtype, factor=32.0, absolute=None):
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
        return
    ulp = np.finfo(dtype).eps
    with np.errstate(over="ignore"):
        wanted = wanted.astype(got.dtype)
    atol = factor * (ulp if absolute is None else absolute)
    np.testing.assert_allclose(got, wanted, rtol=factor * ulp, atol=atol)


def expected(row: Row, arrays):
    with np.errstate(all="ignore"):
        return np.asarray(row.reference(*arrays))


@pytest.mark.parametrize(("row", "floating"), cases(ROWS))
def test_value_and_type(row: Row, floating):
    inputs, arrays = row.inputs(floating), row.draw(floating)
    output = row.build(*inputs)
    wanted = expected(row, arrays)
    got = output.eval(dict(zip(inputs, arrays, strict=True)))
    assert output.shape == got.shape == wanted.shape
    assert output.dtype.numpy == got.dtype
    assert wanted.dtype == np.longdouble or got.dtype == wanted.dtype
    close(got, wanted, got.dtype if got.dtype.kind == "f" else floating, row.tolerance)
    verify(graphc.Graph(tuple(inputs), (output,)))


@pytest.mark.parametrize(("row", "floating"), cases(row for row in ROWS if row.hard))
def test_hard_values(row: Row, floating):
    columns = row.hard_columns(floating)
    inputs = [graphc.input(f"x{k}", column.shape, column.dtype) for k, column in enumerate(columns)]
    wanted = expected(row, columns)
    got = row.build(*inputs).eval(dict(zip(inputs, columns, strict=True)))
    # Each value on its own: an absolute tolerance would excuse anything of what is small.
    close(got, wanted, floating, row.tolerance, np.finfo(floating).smallest_subnormal)


@pytest.mark.parametrize(("row", "floating"), cases(row for row in ROWS if row.operands))
def test_one_hard_value_anywhere(row: Row, floating):
    inputs = row.inputs(floating)
    output = row.build(*inputs)
    for arrays in row.spoiled(floating):
        feeds = dict(zip(inputs, arrays, strict=True))
        try:
            wanted = expected(row, arrays)
        except IndexError:
            with pytest.raises(graphc.IndexOutOfRangeError):
                output.eval(feeds)
            continue
        got = output.eval(feeds)
        scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
        close(got, wanted, floating, row.tolerance, scale * np.finfo(floating).eps)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(call, error, *(message or ["."]), id=f"{row.name}-{k}")
        for row in ROWS
        for k, (call, error, *message) in enumerate(row.raises)
    ],
)
def test_wrong_operands_raise_at_the_users_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    lines = re.findall(r"(\w+\.py):\d+", str(caught.value))
    assert lines
    assert {*lines} <= {path.name for path in Path(call.__code__.co_filename).parent.glob("*.py")}


# Builders that are no ops: the tests named here show what they refuse.
ELSEWHERE = {
    "apply": "tests/optim",
    "evaluate": "tests/graph/test_reference.py",
    "flat_function": "tests/test_flat.py",
    "grad": "tests/chain",
    "hessian": "tests/chain",
    "hvp": "tests/chain",
    "jacobian": "tests/chain",
    "joining updates": "tests/optim",
    "jvp": "tests/chain",
    "minimize": "tests/optim",
    "substitute": "tests/chain",
    "vjp": "tests/chain",
}


def test_every_builder_has_a_call_that_must_raise():
    refusing: set[str] = set()
    for row in ROWS:
        for call, error, *_ in row.raises:
            with pytest.raises(error) as caught:
                call()
            refusing |= set(re.findall(r"^  in (\S+) at ", str(caught.value), re.MULTILINE))
    modules = {name for name in BUILDERS if name.startswith("nn.")}  # tests/nn
    assert not BUILDERS.keys() - refusing - ELSEWHERE.keys() - modules, "add to `raises` of a row of the catalogue"
    assert not ELSEWHERE.keys() & refusing


def test_every_call_that_must_raise_has_a_message():
    assert not [row.name for row in ROWS for _, _, *message in row.raises if not message]


def weighted(row: Row):
    """The row's inputs, arrays, the floating ones among them, and a scalar: its output under fixed weights."""
    inputs, arrays = row.inputs("float64"), row.draw("float64")
    output = row.build(*inputs)
    weights = np.random.default_rng(5).uniform(0.5, 1.5, [int(n) for n in output.shape]).astype(output.dtype.numpy)
    wrt = [node for node in inputs if node.dtype.is_float]
    return inputs, arrays, wrt, (output * weights).sum()


def slope(scalar, inputs, arrays, directions, step=1e-6):
    """The derivative of a scalar along directions of the floating inputs, by a central difference."""
    moved = []
    for sign in (1, -1):
        fed = {
            x: a + sign * step * directions[x] if x in directions else a for x, a in zip(inputs, arrays, strict=True)
        }
        moved.append(scalar.eval(fed))
    return (moved[0] - moved[1]) / (2 * step)


def directions_of(wrt, arrays_of, seed):
    generator = np.random.default_rng(seed)
    return {x: generator.uniform(-1, 1, arrays_of[x].shape) for x in wrt}


@derivable
def test_reverse_and_forward_derivatives_match_differences(row: Row):
    inputs, arrays, wrt, scalar = weighted(row)
    feeds = dict(zip(inputs, arrays, strict=True))
    gradients = [np.asarray(g.eval(feeds)) for g in grad(scalar, wrt, disconnected="zeros")]
    assert [g.shape for g in gradients] == [feeds[x].shape for x in wrt]
    factor = 1e3 if "float32" in row.name else 1.0
    for seed in range(3):
        along = directions_of(wrt, feeds, seed)
        wanted = slope(scalar, inputs, arrays, along, step=1e-2 if "float32" in row.name else 1e-6)
        got = sum(float((g * along[x]).sum()) for x, g in zip(wrt, gradients, strict=True))
        assert got == pytest.approx(wanted, rel=1e-6 * factor, abs=1e-7 * factor)
        tangent = jvp(scalar, wrt, [graphc.constant(along[x]) for x in wrt]).eval(feeds)
        assert tangent == pytest.approx(wanted, rel=1e-6 * factor, abs=1e-7 * factor)


@derivable
def test_second_derivatives_match_differences(row: Row):
    inputs, arrays, wrt, scalar = weighted(row)
    feeds = dict(zip(inputs, arrays, strict=True))
    along = directions_of(wrt, feeds, 11)
    first = sum((g * along[x]).sum() for x, g in zip(wrt, grad(scalar, wrt, disconnected="zeros"), strict=True))
    again = grad(first, wrt, disconnected="zeros")
    other = directions_of(wrt, feeds, 12)
    wanted = slope(first, inputs, arrays, other, step=1e-5)
    got = sum(float((np.asarray(g.eval(feeds)) * other[x]).sum()) for x, g in zip(wrt, again, strict=True))
    assert got == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("row", [row for row in ROWS if row.batchable], ids=lambda row: row.name)
def test_vmap_matches_a_loop(row: Row):
    count = len(row.operands)
    for mask in range(1, 2**count) if count < 3 else (1, 2**count - 1):
        chosen = [bool(mask >> k & 1) for k in range(count)]
        draws = [row.draw("float64", seed) for seed in range(3)]
        arrays = [np.stack([d[k] for d in draws]) if each else draws[0][k] for k, each in enumerate(chosen)]
        inputs = [graphc.input(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
        batched = vmap(row.build, [0 if each else None for each in chosen])(*inputs)
        got = batched.eval(dict(zip(inputs, arrays, strict=True)))
        for k in range(3):
            example = [a[k] if each else a for a, each in zip(arrays, chosen, strict=True)]
            close(got[k], expected(row, example), "float32" if got.dtype == "float32" else "float64", row.tolerance)


def op_classes() -> set[type[Op]]:
    """Every op class of graphc.ops that is no family."""
    found = set()
    for module in pkgutil.iter_modules(graphc.ops.__path__):
        for name, value in inspect.getmembers(import_module(f"graphc.ops.{module.name}"), inspect.isclass):
            if (
                issubclass(value, Op)
                and not name.startswith("_")
                and value.__name__ not in FAMILIES
                and value is not Op
            ):
                found.add(value)
    return found


def ops_of(rows) -> set[type[Op]]:
    """Every op class that the rows' graphs hold, inside loops and branches too."""
    used: set[type[Op]] = set()
    for row in rows:
        pending = [row.build(*row.inputs("float64"))]
        while pending:
            for node in walk.topological([pending.pop()]):
                used.add(type(node.op))
                pending += [output for _, inner in subgraphs(node.op) for output in inner.outputs]
    return used


def test_every_op_has_a_row():
    assert not {op.__name__ for op in op_classes() - ops_of(ROWS)}, "add a row to tests/ops/catalogue/"


def test_every_op_meets_every_hard_value():
    tried = ops_of(row for row in ROWS if row.hard or set(SPOILS) <= set(row.spoils))
    lacking = {op.name for op in op_classes() - tried}
    assert lacking == FAILURES.keys() - {"inv"}, "the rows of an op leave hard values out that test_linalg has not"
