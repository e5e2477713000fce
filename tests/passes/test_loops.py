"""What does not recur leaves loops: the plans of recurrent steps, and the same values and derivatives as unrolled graphs."""

import itertools

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.graph.graph import Graph, subgraphs
from graphc.ops.contraction import Contract
from graphc.ops.control import Scan
from graphc.passes import PASSES, hoist, keep_residuals, run_passes
from graphc.schedule.plan import KernelCall, Repeat, calls
from graphc.simd.levels import LEVELS

T, B, F, H = 4, 2, 3, 3
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
RNG = np.random.default_rng(5)


def cell(kind, wx, wh, b):
    def rnn(h, x):
        h = graphc.tanh(x @ wx + h @ wh + b)
        return h, h

    def lstm(carry, x):
        h, c = carry
        z = h @ wh + x @ wx + b
        i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
        c = graphc.sigmoid(f) * c + graphc.sigmoid(i) * graphc.tanh(g)
        h = graphc.sigmoid(o) * graphc.tanh(c)
        return (h, c), h

    def gru(h, x):
        xz, hz = x @ wx + b, h @ wh
        r, u = (graphc.sigmoid(xz[:, k * H : k * H + H] + hz[:, k * H : k * H + H]) for k in range(2))
        n = graphc.tanh(xz[:, 2 * H :] + r * hz[:, 2 * H :])
        h = (1 - u) * n + u * h
        return h, h

    return {"rnn": rnn, "lstm": lstm, "gru": gru}[kind]


def parameters(kind):
    width = GATES[kind] * H
    shapes = {"wx": (F, width), "wh": (H, width), "b": (width,)}
    return [graphc.parameter(RNG.normal(size=s) * 0.5, name) for name, s in shapes.items()]


def losses(kind, weights, **options):
    """The loss of a scan and of the same steps in a Python loop."""
    x = graphc.input("x", (T, B, F), "float64")
    step, zero = cell(kind, *weights), graphc.zeros((B, H), "float64")
    first = (zero, zero) if kind == "lstm" else zero
    rows = graphc.scan(step, first, x, **options)[1]
    carry, unrolled = first, []
    for t in range(T):
        carry, row = step(carry, x[t])
        unrolled.append(row)
    target = RNG.normal(size=(T, B, H))
    return x, *(((rows - target) ** 2).sum() for rows in (rows, graphc.stack(unrolled)))


def contractions(nodes):
    return [node for node in nodes if isinstance(node.op, Contract)]


def scans(graph):
    return [node for node in graph.nodes() if isinstance(node.op, Scan)]


@pytest.mark.parametrize("kind", GATES)
def test_derivatives_to_second_order_are_those_of_the_unrolled_graph(kind):
    weights = parameters(kind)
    x, loss, unrolled = losses(kind, weights)
    outputs = []
    for value in (loss, unrolled):
        first = graphc.grad(value, [*weights, x])
        outputs += [value, *first, *graphc.grad(sum((g * g).sum() for g in first), [*weights, x])]
    graph = Graph((x,), tuple(outputs))
    passed = run_passes(graph)
    assert sum(not node.op.lean for node in scans(passed)) >= 3
    feeds = {x: RNG.normal(size=(T, B, F))}
    found = graphc.evaluate(list(passed.outputs), feeds)
    half = len(found) // 2
    for a, b in zip(found[:half], found[half:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", GATES)
def test_compiled_gradients_agree_with_those_whose_loops_keep_everything(kind):
    weights = parameters(kind)
    x, loss, _ = losses(kind, weights)
    graph = Graph((x,), (loss, *graphc.grad(loss, [*weights, x])))
    feeds = {x: RNG.normal(size=(T, B, F))}
    plain = graph
    for step in PASSES:
        plain = plain if step in (hoist, keep_residuals) else step(plain)
    assert len(contractions(n for s in scans(plain) for n in s.op.step.nodes())) > 2
    compiled = graphc.compile([x], list(graph.outputs))
    for a, b in zip(compiled(feeds[x]), graphc.evaluate(list(plain.outputs), feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(compiled(feeds[x]), compiled(feeds[x]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", GATES)
def test_one_projection_before_the_loop_and_one_weight_gradient_after_it(kind):
    weights = parameters(kind)
    x, loss, _ = losses(kind, weights)
    graph = run_passes(Graph((x,), tuple(graphc.grad(loss, weights))))
    forward, backward = scans(graph)
    width = GATES[kind] * H
    for scan in (forward, backward):  # only the product with the state that recurs is left in each step
        assert len(contractions(scan.op.step.nodes())) == 1
    outside = sorted(node.shape for node in contractions(graph.nodes()))
    assert outside == sorted([(T, B, width), (F, width), (H, width)])
    # And the plan has them in this order: a projection, a loop, a loop, two gradients of weights.
    plan = plan_of(graph, LEVELS["x86-64-v3"])
    kinds = ["loop" if isinstance(step, Repeat) else "" for step in plan.steps]
    loops = [k for k, kind in enumerate(kinds) if kind]
    assert len(loops) == 2
    before, after = (
        {plan.buffers[b].shape for step in steps if isinstance(step, KernelCall) for b in step.writes}
        for steps in (plan.steps[: loops[0]], plan.steps[loops[1] :])
    )
    assert (T, B, width) in before
    assert {(F, width), (H, width)} <= after


def test_the_backward_loop_makes_no_activation_again():
    weights = parameters("lstm")
    x, loss, _ = losses("lstm", weights)
    _, backward = scans(run_passes(Graph((x,), tuple(graphc.grad(loss, weights)))))
    assert not {"sigmoid", "tanh", "exp"} & {node.op.name for node in backward.op.step.nodes()}


def test_a_lean_loop_stores_its_carries_alone():
    weights = parameters("lstm")
    x, loss, _ = losses("lstm", weights, checkpoint=1)
    forward, backward = scans(run_passes(Graph((x,), tuple(graphc.grad(loss, weights)))))
    assert len(forward.op.step.outputs) == 2 + 3  # h and c; their histories and the results
    inside = [node for scan in scans(backward.op.step) for node in scan.op.step.nodes()]
    assert len(contractions([*backward.op.step.nodes(), *inside])) == 5


def test_results_that_no_step_waits_for_are_made_after_the_loop():
    w = graphc.parameter(RNG.normal(size=(H, 40)), "w")
    x = graphc.input("x", (T, B, H), "float64")
    _, logits = graphc.scan(lambda h, v: ((h := graphc.tanh(h + v)), h @ w), graphc.zeros((B, H), "float64"), x)
    graph = run_passes(Graph((x,), (logits,)))
    (scan,) = scans(graph)
    assert not contractions(scan.op.step.nodes())
    feed = RNG.normal(size=(T, B, H))
    state, rows = np.zeros((B, H)), []
    for v in feed:
        state = np.tanh(state + v)
        rows.append(state @ w.value)
    np.testing.assert_allclose(graphc.evaluate(graph.outputs[0], {x: feed}), np.stack(rows), rtol=1e-12)


def test_a_total_becomes_a_sum_over_a_result():
    x = graphc.input("x", ("time", 3), "float64")

    def step(carry, v):
        h, total, count = carry
        h = graphc.tanh(h + v)
        return (h, total + (h * h).sum(), count + 1), None

    zero = graphc.constant(2.0, "float64")
    (_, total, count), _ = graphc.scan(step, (graphc.zeros((3,), "float64"), zero, graphc.constant(0)), x)
    graph = run_passes(Graph((x,), (total, count)))
    (scan,) = scans(graph)
    for length in (0, 1, 5):
        feed = RNG.normal(size=(length, 3))
        state, expected = np.zeros(3), 2.0
        for v in feed:
            state = np.tanh(state + v)
            expected += (state * state).sum()
        found = graphc.evaluate(list(graph.outputs), {x: feed})
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)
        assert found[1] == length
    assert scan.op.carries == 2


def test_what_would_be_large_to_store_stays_in_the_loop():
    """Sums of products over blocks of keys: all blocks together would be the whole matrix of scores."""
    q = graphc.input("q", (64, 4), "float64")
    k = graphc.input("k", (5, 8, 4), "float64")
    total, _ = graphc.scan(
        lambda c, block: (c + graphc.exp(q @ block.T) @ block, None), graphc.zeros((64, 4), "float64"), k
    )
    (scan,) = scans(run_passes(Graph((q, k), (total,))))
    assert len(scan.op.step.outputs) == 1


def test_draws_stay_where_they_are():
    x = graphc.input("x", (T, 3), "float64")

    def step(h, v):
        noise = graphc.normal((3,), dtype="float64")
        return graphc.tanh(h * noise + v), (noise * v).sum()

    _, rows = graphc.scan(step, graphc.zeros((3,), "float64"), x)
    graph = Graph((x,), (rows,))
    feeds = {x: np.ones((T, 3))}
    graphc.seed(3)
    before = graphc.evaluate(rows, feeds)
    graphc.seed(3)
    after = graphc.evaluate(run_passes(graph).outputs[0], feeds)
    np.testing.assert_allclose(after, before, rtol=1e-12)
    assert len({float(v) for v in before}) == T


def test_loops_inside_loops_give_up_their_work_too():
    w = graphc.parameter(RNG.normal(size=(3, 3)), "w")
    x = graphc.input("x", (2, T, 3), "float64")

    def outer(h, block):
        h, _ = graphc.scan(lambda c, v: (graphc.tanh(c + v @ w), None), h, block)
        return h, None

    last, _ = graphc.scan(outer, graphc.zeros((3,), "float64"), x)
    graph = run_passes(Graph((x,), (last, graphc.grad(last.sum(), w))))
    inner = [sub for node in graph.nodes() for _, sub in subgraphs(node.op)]
    deepest = [node for sub in inner for node in itertools.chain(*(s.op.step.nodes() for s in scans(sub)))]
    assert deepest
    assert not contractions(deepest)


@pytest.mark.parametrize("reverse", [False, True])
def test_only_the_last_state_is_kept_where_only_that_is_used(reverse):
    w = graphc.parameter(RNG.normal(size=(3, 3)), "w")
    x = graphc.input("x", (T, 2, 3), "float64")
    zero = graphc.zeros((2, 3), "float64")

    def step(h, v):
        h = graphc.tanh(h @ w + v)
        return h, h

    last, rows = graphc.scan(step, zero, x, reverse=reverse)
    end = rows[0 if reverse else -1]
    loss, expected = (((value * value).sum() + last.sum()) for value in (end, last))
    graph = run_passes(Graph((x,), (loss, graphc.grad(loss, w))))
    (only,) = scans(run_passes(Graph((x,), (loss,))))
    assert len(only.op.step.outputs) == 1
    forward, backward = scans(graph)
    assert len(forward.op.step.outputs) == 3  # the state, its history, and the activation that the gradient needs
    assert backward.op.slices == 1
    feeds = {x: RNG.normal(size=(T, 2, 3))}
    found = graphc.evaluate(list(graph.outputs), feeds)
    wanted = graphc.evaluate([expected, graphc.grad(expected, w)], feeds)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def plan_loops(inputs, outputs, updates=()):
    """The loops of a plan, and the shapes of what each writes, by buffer's kind."""
    graph = run_passes(Graph(tuple(inputs), tuple(outputs), tuple(updates)))
    plan = plan_of(graph, LEVELS["x86-64-v4"])
    return plan, [step for step in plan.steps if isinstance(step, Repeat)]


def test_two_layers_over_the_same_range_are_one_loop_each_way():
    x = graphc.input("x", ("time", B, F), "float64")
    layers = [graphc.nn.GRU(F, H, dtype="float64"), graphc.nn.LSTM(F, H + 1, dtype="float64")]
    losses = [(layer(x)[0] ** 2).sum() for layer in layers]
    wrt = [p for layer in layers for p in layer.parameters()]
    outputs = [*losses, *graphc.grad(losses[0] + 3.0 * losses[1], wrt)]
    _, loops = plan_loops([x], outputs)
    assert [loop.reverse for loop in loops] == [False, True]
    feed = RNG.normal(size=(T, B, F))
    for a, b in zip(graphc.compile([x], outputs)(feed), graphc.evaluate(outputs, {x: feed}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_loops_over_other_ranges_or_rows_stay_apart():
    x, y = graphc.input("x", ("time", B, F), "float64"), graphc.input("y", ("steps", B, F), "float64")

    def walked(array, rows, **options):
        zero = graphc.zeros((rows, F), "float64")
        return graphc.scan(lambda h, v: (graphc.tanh(h + v[:1]), None), zero, array, **options)[0]

    first = walked(x, B)
    for other in (walked(y, B), walked(x, B, reverse=True), walked(x, B + 1), walked(x, B, checkpoint=1)):
        assert len(plan_loops([x, y], [first, other])[1]) == 2
    assert len(plan_loops([x, y], [first, graphc.scan(lambda h, v: (h * 0.5 + v, None), first, x)[0]])[1]) == 2
    assert len(plan_loops([x, y], [first, walked(x * 2.0, B)])[1]) == 1


def test_a_plan_has_no_carry_and_no_result_that_nobody_reads():
    x = graphc.input("x", ("time", B, F), "float64")

    def step(carry, v):
        h, unread, alone = carry
        h = graphc.tanh(h + v)
        return (h, graphc.sin(unread + h), graphc.cos(alone)), (h, graphc.exp(h), h + unread)

    zero = graphc.zeros((B, F), "float64")
    (last, _, _), (rows, _, _) = graphc.scan(step, (zero, zero, zero), x)
    for output, results in ((last, 0), (rows, 1)):
        plan, (loop,) = plan_loops([x], [output])
        walked = [plan.buffers[b] for b in loop.slices]
        assert sum(plan.buffers[b.position].kind != "input" for b in walked) == results
        written = {b for call in loop.steps for b in call.writes}
        carried = {b for b in written if plan.buffers[b].kind != "slice" and plan.buffers[b].shape == (B, F)}
        assert len(carried) == 1, "one carry of three is left"
        assert not {"sin", "cos", "exp"} & set(" ".join(plan.kernels.values()).replace("(", " ").split())


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_predicting_from_the_last_state_stores_no_state_of_another_time(kind):
    x = graphc.input("x", ("time", "batch", F))
    outputs, _ = getattr(graphc.nn, kind)(F, H)(x)
    plan, (loop,) = plan_loops([x], [outputs[-1]])
    written = {number for call in calls(plan.steps) for number in call.writes}
    stored = [b.number for b in plan.buffers if b.number in written and "time" in str(b.shape[:1])]
    assert len(stored) == 1, "of all times there is the projected input alone"
    assert [plan.buffers[b].position for b in loop.slices] == stored
