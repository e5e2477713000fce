"""Each pass does what it says, and nothing where it must not."""

import time

import numpy as np
import pytest

import graphc
from graphc.errors import GraphError
from graphc.graph.node import Leaf
from graphc.graph.verify import verify
from graphc.ops.control import Cond, Scan
from graphc.passes import PASSES, absorb, collect_updates, cse, drop_unused, fold, join_pads, run_passes, simplify

X = graphc.input("x", ("n", 3), "float64")
Y = graphc.input("y", (4, 3), "float64")
W = graphc.parameter(np.arange(9.0).reshape(3, 3), "w")


def names(graph):
    return sorted(n.op.name for n in graph.nodes() if not isinstance(n.op, Leaf) and n.op.name != "constant")


def after(node, *passes):
    graph = graphc.Graph((X, Y), (node,))
    for step in passes or (fold, simplify):
        graph = verify(step(graph))
    return graph


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda x: x + 0.0, ["add", "broadcast_to"]),
        (lambda x: x + -0.0, []),
        (lambda x: 1.0 * x, []),
        (lambda x: x - 0.0, []),
        (lambda x: x / 1.0, []),
        (lambda x: graphc.negative(-x), []),
        (lambda x: x + (-x * 1.0), ["subtract"]),
        (lambda x: x * -1.0, ["negative"]),
        (lambda x: x / 4.0, ["broadcast_to", "multiply"]),
        (lambda x: x / 3.0, ["broadcast_to", "divide"]),
        (lambda x: x * 0.0, ["broadcast_to", "multiply"]),
        (lambda x: graphc.where(x > 0.0, x, x), []),
        (lambda x: graphc.where(~(x > 0.0), x, 1.0), ["broadcast_to", "broadcast_to", "greater", "where"]),
        (lambda x: ~(~(x > 0.0)), ["broadcast_to", "greater"]),
        (lambda x: x.astype("float64").astype("float64"), []),
        (lambda x: x.T.T, []),
        (lambda x: graphc.permute_dims(graphc.expand_dims(x, 0), (1, 0, 2)), ["reshape"]),
        (lambda x: x.reshape(12).reshape(4, 3), []),
        (lambda x: graphc.broadcast_to(graphc.broadcast_to(x, (2, 4, 3)), (5, 2, 4, 3)), ["broadcast_to"]),
        (lambda x: graphc.broadcast_to(graphc.expand_dims(x, 0), (2, 4, 3)), ["broadcast_to"]),
        (lambda x: x[1:][1:], ["slice"]),
        (lambda x: x[::-1][::-1], []),
        (lambda x: graphc.pad(x, ((1, 2), (0, 0)))[1:5], []),
        (lambda x: graphc.pad(x, ((1, 2), (0, 0)), interior=(1, 0))[1:8:2], []),
        (lambda x: graphc.pad(x, ((2, 2), (0, 0)))[0:2], ["broadcast_to"]),
        (lambda x: graphc.concat([x, x * 2.0])[0:4], []),
        (lambda x: graphc.broadcast_to(x, (2, 4, 3))[:, 1], ["broadcast_to", "reshape", "slice"]),
        (lambda x: graphc.broadcast_to(x, (2, 4, 3)).sum(0), ["broadcast_to", "multiply"]),
        (lambda x: x.sum(0).sum(0), ["sum"]),
        (lambda x: x.T.reshape(12).sum(), ["sum"]),
        (lambda x: graphc.tanh(graphc.broadcast_to(x[0], (4, 3))), ["broadcast_to", "reshape", "slice", "tanh"]),
        (lambda x: graphc.stop_gradient(x), []),
    ],
)
def test_simplify(build, left):
    node = build(Y)
    graph = after(node)
    assert names(graph) == left
    data = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(*(graphc.evaluate(n, {Y: data}) for n in (node, graph.outputs[0])), rtol=1e-14)


def test_nothing_turns_nan_into_a_number():
    x = graphc.constant(np.array([np.nan, np.inf, -np.inf, 1.0]))
    for node in (x * 0.0, x - x, x / x, 0.0 / x, graphc.where(x > 0.0, x, x) * 0.0, x.sum() * 0.0):
        np.testing.assert_array_equal(graphc.evaluate(after(node, *PASSES).outputs[0]), graphc.evaluate(node))


def test_an_empty_sum_of_something_infinite_is_zero():
    total = graphc.broadcast_to(graphc.log(Y[0] * 0.0), ("n", 3)).sum(0) + X.sum(0)
    graph = after(total, *PASSES)
    feeds = {Y: np.ones((4, 3)), X: np.ones((0, 3))}
    np.testing.assert_array_equal(graphc.evaluate(graph.outputs[0], feeds), 0)


def test_a_pass_that_changes_nothing_returns_the_same_graph():
    graph = graphc.Graph((X,), (graphc.tanh(X @ W),))
    for step in PASSES:
        assert step(graph) is graph


def test_passes_of_a_deep_graph_do_not_recurse():
    x = X
    for _ in range(3000):
        x = graphc.tanh(x)
    graph = run_passes(graphc.Graph((X,), (x.sum(), graphc.grad(x.sum(), X))))
    assert len(graph.nodes()) > 6000


def test_fold_computes_constants_but_makes_no_arrays_of_repeated_numbers():
    node = X + (graphc.constant(np.array([1.0, 2.0, 3.0])) * 2.0 + graphc.ones((3,), "float64"))
    assert names(after(node)) == ["add", "broadcast_to"]
    assert names(after(graphc.zeros((1000,), "float64"), fold)) == ["broadcast_to"]


def test_fold_leaves_an_index_out_of_range_to_the_run():
    node = graphc.take(graphc.constant(np.ones(3)), graphc.constant([5]))
    assert "take" in names(after(node, fold))


def test_cse_unites_equal_work_and_never_two_draws():
    graph = after(graphc.tanh(X * 2.0) + graphc.tanh(X * 2.0), cse)
    assert names(graph).count("tanh") == 1
    assert names(after(graphc.uniform((3,)) + graphc.uniform((3,)), cse)).count("random_bits") == 2


def test_the_gradient_of_slices_is_one_concat():
    rows = [graphc.tanh(Y[k]) * float(k) for k in range(4)]
    total = rows[0] + rows[1] + rows[2] + rows[3]
    gradient = graphc.grad(total.sum(), Y)
    graph = after(gradient, fold, simplify, join_pads)
    assert names(graph).count("concat") == 1
    assert "pad" not in names(after(gradient, *PASSES))
    data = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(*(graphc.evaluate(n, {Y: data}) for n in (gradient, graph.outputs[0])))


def test_symbolic_halves_join_and_overlapping_slices_do_not():
    n = X.shape[0]
    halves = graphc.grad((graphc.tanh(X[: n // 2]).sum() + (X[n // 2 :] * 3.0).sum()), X)
    assert "concat" in names(after(halves, *PASSES))
    overlapping = graphc.grad(graphc.tanh(Y[:-1] - Y[1:]).sum(), Y)
    graph = after(overlapping, *PASSES)
    assert names(graph).count("pad") == 2
    data = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(*(graphc.evaluate(v, {Y: data}) for v in (overlapping, graph.outputs[0])))


def test_contractions_absorb_transposes_and_broadcasts():
    assert names(after((X @ W.T).T, absorb)) == ["contract"]
    gradient = graphc.grad(graphc.tanh(X @ W.T).sum(), W)
    assert "permute_dims" not in names(after(gradient, *PASSES))
    kept = X @ W
    assert names(after(kept.T @ kept, absorb)).count("contract") == 2


def test_a_sum_over_a_batch_of_products_is_one_contraction():
    left, right = graphc.input("left", (5, 4, 3), "float64"), graphc.input("right", (5, 3, 2), "float64")
    generator = np.random.default_rng(0)
    feeds = {left: generator.normal(size=(5, 4, 3)), right: generator.normal(size=(5, 3, 2))}
    product = left @ right
    for node, count in (
        (product.sum(0), 0),
        (product.sum(1), 1),  # rows are in one operand only
        (product.sum((0, 2)), 1),
        (product.sum(0) + product.max(0), 1),  # the products themselves are wanted, too
        (graphc.permute_dims(product, (1, 2, 0)).sum(2), 0),
    ):
        graph = verify(absorb(graphc.Graph((left, right), (node,))))
        assert names(graph).count("sum") == count
        expected = graphc.evaluate(node, feeds)
        np.testing.assert_allclose(graphc.evaluate(graph.outputs[0], feeds), expected, rtol=1e-12)
    summed = graphc.compile([left, right], product.sum(0))(*feeds.values())
    np.testing.assert_allclose(summed, np.einsum("bij,bjk->ik", *feeds.values()), rtol=1e-12)


# Phase and updates


def test_the_phase_is_folded_in_steps_and_branches_too():
    def step(c, x):
        return graphc.where(graphc.training(), c * x, c), graphc.cond(graphc.training(), lambda: x, lambda: -x)

    last, rows = graphc.scan(step, graphc.constant(np.ones(3)), Y)
    graph = graphc.Graph((Y,), (last, rows))
    for training in (True, False):
        folded = run_passes(graph, training=training, check=verify)
        assert not folded.leaves("training")
        assert not any(isinstance(n.op, Cond) for n in folded.nodes())
        data = np.random.default_rng(0).normal(size=(4, 3))
        a, b = graphc.evaluate(list(folded.outputs), {Y: data})
        np.testing.assert_allclose(a, data.prod(0) if training else 1)
        np.testing.assert_allclose(b, data if training else -data)


def test_carried_updates_are_collected_in_training_and_dropped_otherwise():
    running = graphc.state(np.zeros(3), "running")
    value = graphc.with_update(Y * 2.0, {running: running * 0.5 + Y.mean(0)})
    graph = graphc.Graph((Y,), (graphc.grad(value.sum(), Y), value))
    evaluated = run_passes(graph, training=False)
    assert evaluated.updates == ()
    ((target, new),) = run_passes(graph, training=True, check=verify).updates
    assert target is running
    np.testing.assert_allclose(graphc.evaluate(new, {Y: np.ones((4, 3))}), 1)


def test_two_updates_of_one_state_are_chained_in_the_order_of_construction():
    count = graphc.state(np.float64(1), "count")
    first = graphc.with_update(Y, {count: count + 1.0})
    second = graphc.with_update(Y, {count: count * 10.0})
    graph = collect_updates(graphc.Graph((Y,), (second, first)), True)
    ((target, new),) = graph.updates
    assert target is count
    assert graphc.evaluate(new) == 20


def test_an_update_given_twice_or_made_in_a_loop_is_refused():
    count = graphc.state(np.float64(1), "count")
    value = graphc.with_update(Y, {count: count + 1.0})
    with pytest.raises(GraphError, match="two updates"):
        collect_updates(graphc.Graph((Y,), (value,), ((count, count * 2.0),)), True)
    looped = graphc.scan(lambda c, x: (c, graphc.with_update(x, {count: count + x.sum()})), None, Y)[1]
    with pytest.raises(GraphError, match="inside a loop"):
        collect_updates(graphc.Graph((Y,), (looped,)), True)
    run_passes(graphc.Graph((Y,), (looped,)), training=False, check=verify)


# Loops


def rnn():
    return graphc.scan(lambda h, x: (lambda n: (n, n * 2.0))(graphc.tanh(h @ W + x)), graphc.constant(np.zeros(3)), Y)


def scans(graph):
    return [n for n in graph.nodes() if isinstance(n.op, Scan)]


def test_results_and_histories_that_nobody_reads_are_dropped():
    last, rows = rnn()
    (node,) = scans(drop_unused(graphc.Graph((Y,), (last,))))
    assert len(node.type.items) == 1
    (node,) = scans(drop_unused(graphc.Graph((Y,), (rows,))))
    assert len(node.type.items) == 2


def test_a_gradient_that_nobody_reads_costs_no_accumulator():
    last, _ = rnn()
    graph = run_passes(graphc.Graph((Y,), (graphc.grad(last.sum(), Y),)), check=verify)
    backward = scans(graph)[-1]
    assert backward.op.carries == 1


def test_a_scan_and_its_derivatives_share_one_forward_loop():
    last, rows = rnn()
    loss = last.sum() + (rows * rows).sum()
    v = [np.ones((3, 3))]
    outputs = (loss, *graphc.grad(loss, [W, Y]), *graphc.jvp([rows], [W], v), *graphc.hvp(loss, [W], v))
    graph = graphc.Graph((Y,), outputs)
    merged = run_passes(graph, check=verify)
    assert len(scans(graph)) > 4
    assert len(scans(merged)) == 2
    data = np.random.default_rng(0).normal(size=(4, 3))
    for a, b in zip(*(graphc.evaluate(list(g.outputs), {Y: data}) for g in (merged, graph)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_scans_that_need_each_other_stay_apart():
    last, rows = rnn()
    again, _ = graphc.scan(lambda h, x: (graphc.tanh(h @ W + x), None), last, rows)
    assert len(scans(run_passes(graphc.Graph((Y,), (again,))))) == 2


def test_a_number_known_outside_is_a_number_inside():
    c = graphc.constant(2.0, "float64") * 3.0
    last, _ = graphc.scan(lambda h, x: (h * c + x, None), graphc.constant(np.zeros(3)), Y)
    (node,) = scans(run_passes(graphc.Graph((Y,), (last,)), check=verify))
    assert len(node.inputs) == 2


def test_fold_leaves_constants_read_at_symbolic_places():
    part = graphc.constant(np.arange(9.0))[X.shape[0] : X.shape[0] + 2]
    graph = after(part, fold)
    np.testing.assert_array_equal(graphc.evaluate(graph.outputs[0] + X.sum() * 0.0, {X: np.ones((3, 3))}), [3, 4])


def test_a_tangent_made_from_the_scan_itself_keeps_the_scans_apart():
    last, _ = rnn()
    moved = graphc.jvp(last, Y, graphc.broadcast_to(last, (4, 3)))
    graph = graphc.Graph((Y,), (last, moved))
    after_all = run_passes(graph, check=verify)
    assert len(scans(after_all)) == 2
    data = np.random.default_rng(0).normal(size=(4, 3))
    for a, b in zip(*(graphc.evaluate(list(g.outputs), {Y: data}) for g in (after_all, graph)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_one_step_on_other_operands_is_another_scan():
    start = graphc.parameter(np.ones(3), "start")
    last, _ = graphc.scan(lambda h, x: (graphc.tanh(h @ W + x), None), start, Y)
    other = graphc.substitute(last, {start: start * 2.0})
    third = graphc.substitute(last, {Y: Y * 2.0})
    fourth = graphc.substitute(last, {W: W * 0.5})
    graph = graphc.Graph((Y,), (last, other, third, fourth))
    after_all = run_passes(graph, check=verify)
    assert len(scans(after_all)) == 4
    data = np.random.default_rng(0).normal(size=(4, 3))
    for a, b in zip(*(graphc.evaluate(list(g.outputs), {Y: data}) for g in (after_all, graph)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_an_empty_sum_of_a_repeated_infinity_is_zero():
    infinite = graphc.parameter(np.array([np.inf, -np.inf, np.nan]))
    graph = after(graphc.broadcast_to(infinite, (0, 3)).sum(0), *PASSES)
    np.testing.assert_array_equal(graphc.evaluate(graph.outputs[0]), 0)


def test_a_repeated_infinity_times_numbers_of_both_signs_is_nan_before_and_after():
    node = Y @ graphc.full((3, 3), np.inf, "float64")
    graph = after(node, *PASSES)
    data = np.array([[1.0, -2.0, 3.0], [1.0, 2.0, 3.0], [0.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    expected = np.array([[np.nan], [np.inf], [np.nan], [-np.inf]]) * np.ones(3)
    for v in (node, graph.outputs[0]):
        np.testing.assert_array_equal(graphc.evaluate(v, {Y: data}), expected)


# Cost


def pointwise(count):
    x = graphc.input("x", ("n", 8), "float64")
    steps = [graphc.tanh, graphc.sigmoid, lambda y: y * 1.5 + x, lambda y: graphc.maximum(graphc.exp(-y), 0.1)]
    y = x
    for k in range(count):
        y = steps[k % 4](y)
    return graphc.Graph((x,), (y,))


def seconds(count):
    graph = pointwise(count)
    begun = time.process_time()
    run_passes(graph)
    return time.process_time() - begun


def test_passes_take_time_in_proportion_to_the_nodes():
    small = min(seconds(1000) for _ in range(3))
    assert seconds(4000) < 8 * small
    assert seconds(10_000) < 20
