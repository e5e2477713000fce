"""Every row of the catalogue through the compiler: unjitted with bounds checks, and compiled, at the host's CPU level.

One plan a row and dtype computes the value, its gradient and a second derivative; the reference run gives what is
expected, and the rows' own tests hold that one to independent definitions. Of the other levels a tenth of the rows is
tried, each day another one: GRAPHC_TEST_TENTH=3 repeats one (it stands in the test's name), GRAPHC_TEST_TENTH=all tries all.
"""

import os
import zlib

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.derivatives import grad
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.passes import run_passes
from graphc.schedule.natives import natives
from graphc.simd.levels import LEVELS, host_level, supported_levels
from tests.interpreter import Interpreter, compiled, unjitted
from tests.ops.catalogue import ROWS, cases


def at_levels(levels):
    """Each row and dtype at the first of these levels; a tenth of them at each of the others."""
    host, *others = levels
    chosen = [pytest.param(*case.values, host, id=f"{host}-{case.id}") for case in cases(ROWS)]
    for level in others:
        for case in cases(ROWS):
            tenth = str(zlib.crc32(f"{level} {case.id}".encode()) % 10)
            if os.environ["GRAPHC_TEST_TENTH"] in ("all", tenth):
                chosen.append(pytest.param(*case.values, level, id=f"{level}-{case.id}-tenth{tenth}"))
    return pytest.mark.parametrize(("row", "floating", "level"), chosen)


def graph_of(row, floating):
    inputs, arrays = row.inputs(floating), row.draw(floating)
    outputs = [row.build(*inputs)]
    wrt = [node for node in inputs if node.dtype.is_float]
    if row.derivable and wrt and outputs[0].dtype.is_float:
        weights = np.random.default_rng(5).uniform(0.5, 1.5, outputs[0].shape).astype(outputs[0].dtype.numpy)
        first = grad(graphc.sum(outputs[0] * weights), wrt, disconnected="zeros")
        outputs += first
        total = graphc.sum(first[0] * np.asarray(0.5, floating))
        for one in first[1:]:
            total = total + graphc.sum(one * np.asarray(0.25, floating))
        outputs += grad(total, wrt, disconnected="zeros")
    return Graph(tuple(inputs), tuple(outputs)), arrays


def compare(row, got, wanted, floating):
    for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
        b = np.asarray(b)
        assert a.shape == b.shape
        if b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
        else:
            bound = row.tolerance * (4 if k else 1) * np.finfo(b.dtype).eps
            scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale, err_msg=f"output {k}")


@at_levels([host_level().name, *(name for name in LEVELS if name != host_level().name)])
def test_unjitted_source_stays_in_bounds_and_agrees(row, floating, level):
    graph, arrays = graph_of(row, floating)
    wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
    passed = run_passes(graph, training=False)
    plan = plan_of(passed, LEVELS[level])
    stored = [leaf.value for leaf in passed.stored]
    kernel_of = unjitted(plan, natives(passed), has_fma=LEVELS[level].fma)
    interpreter = Interpreter(plan, arrays, stored, {}, kernel_of, threads=2)
    compare(row, interpreter.result("output"), wanted, floating)


@at_levels(supported_levels())
def test_compiled_kernels_on_guarded_buffers(row, floating, level):
    graph, arrays = graph_of(row, floating)
    wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
    passed = run_passes(graph, training=False)
    plan = plan_of(passed, LEVELS[level])
    loader = Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed)))
    stored = [leaf.value for leaf in passed.stored]
    interpreter = Interpreter(plan, arrays, stored, {}, compiled(loader))
    compare(row, interpreter.result("output"), wanted, floating)
    for spoiled in row.spoiled(floating):
        interpreter = Interpreter(plan, spoiled, stored, {}, compiled(loader))
        feeds = dict(zip(graph.inputs, spoiled, strict=True))
        try:
            wanted = run(graph.outputs[:1], feeds)
        except graphc.IndexOutOfRangeError:
            assert interpreter.error[0]
        else:
            assert not interpreter.error[0]
            compare(row, interpreter.result("output")[:1], wanted, floating)


@pytest.mark.parametrize(("row", "floating"), cases(row for row in ROWS if row.hard))
def test_hard_values(row, floating):
    columns = row.hard_columns(floating)
    inputs = [graphc.input(f"x{k}", column.shape, column.dtype) for k, column in enumerate(columns)]
    output = row.build(*inputs)
    (wanted,) = run([output], dict(zip(inputs, columns, strict=True)))
    got = graphc.compile(inputs, output)(*columns)
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
        return
    # Each value on its own: beside the largest floats, a tolerance relative to the array would excuse anything.
    form = np.finfo(wanted.dtype)
    rtol, atol = row.tolerance * form.eps, row.tolerance * form.smallest_subnormal
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(np.signbit(got[wanted == 0]), np.signbit(wanted[wanted == 0]), "signs of zeros")
