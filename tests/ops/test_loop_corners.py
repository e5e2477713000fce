"""Corners of loops, branches, attention and CTC against definitions in NumPy: no steps, one, masks that hide all, infinities."""

import itertools
import math

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.nn import attention

RNG = np.random.default_rng(12)
CASES = {}


def case(function):
    """Register a function that returns input nodes, output nodes, a NumPy function of the fed arrays, and what to feed."""
    CASES[function.__name__] = function
    return function


def numbers(*shape, dtype="float32"):
    return RNG.normal(size=shape).astype(dtype)


def node(name, *shape, dtype="float32"):
    return graphc.input(name, shape, dtype)


def walked(step, first, xs, reverse=False, empty=()):
    """What a scan means: the last carry, and all results stacked."""
    carry, rows = first, [None] * len(xs)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, rows[t] = step(carry, xs[t])
    return carry, np.stack(rows) if rows else np.zeros((0, *empty), "float32")


LENGTHS = (0, 1, 2, 7, 17)


def of_lengths(*shape):
    return [(numbers(t, *shape),) for t in LENGTHS]


def decaying(reverse=False, **options):
    def build():
        xs = node("xs", "time", 3)
        last, rows = graphc.scan(lambda h, x: (h * 0.5 + x, h * x), graphc.ones((3,)), xs, reverse=reverse, **options)

        def define(xs):
            return walked(lambda h, x: (h * 0.5 + x, h * x), np.ones(3, "f"), xs, reverse, (3,))

        return [xs], [last, rows], define, of_lengths(3)

    return build


CASES["scan of any length"] = decaying()
CASES["scan backwards"] = decaying(reverse=True)
CASES["scan with checkpoint beyond its length"] = decaying(checkpoint=100)
CASES["scan truncated beyond its length"] = decaying(truncate=100, checkpoint=1)


def gradients(**options):
    """A product's gradients: by each x the product of the others, by the first carry that of all."""

    def build():
        xs, first = node("xs", "time", 3, dtype="float64"), node("first", 3, dtype="float64")
        last, _ = graphc.scan(lambda h, x: (h * x, h), first, xs, **options)

        def define(xs, first):
            others = [first * np.prod(np.delete(xs, t, 0), 0) for t in range(len(xs))]
            return np.reshape(others, xs.shape), np.prod(xs, 0)

        feeds = [(numbers(t, 3, dtype="float64"), numbers(3, dtype="float64")) for t in (0, 1, 5)]
        return [xs, first], graphc.grad(last.sum(), [xs, first]), define, feeds

    return build


CASES["gradients of no steps and of some"] = gradients()
CASES["gradients, checkpoint beyond the length"] = gradients(checkpoint=100)
CASES["gradients, one state kept for each step"] = gradients(checkpoint=1)
CASES["gradients, backwards in pieces of two"] = gradients(checkpoint=2, reverse=True)


@case
def truncated_gradients_of_a_sum():
    """A step's carry has the gradient of the steps up to the next cut."""
    xs = node("xs", "time", dtype="float64")
    _, rows = graphc.scan(lambda h, x: (h + x, h + x), graphc.constant(0.0, "float64"), xs, truncate=3)

    def define(xs):
        return (np.array([min(3 - t % 3, len(xs) - t) for t in range(len(xs))], "float64"),)

    return [xs], [graphc.grad(rows.sum(), xs)], define, [(numbers(t, dtype="float64"),) for t in (0, 1, 3, 4, 8)]


@case
def carries_of_integers_and_booleans():
    xs = node("xs", "time", dtype="int32")
    first = (graphc.constant(np.int32(1)), graphc.constant(False), graphc.constant(np.int64(0)))

    def step(carry, x):
        count, seen, total = carry
        seen = graphc.logical_or(seen, x > 3)
        return (count * 2 + x, seen, total + x.astype("int64")), seen

    (count, seen, total), flags = graphc.scan(step, first, xs)

    def define(xs):
        count = np.int32(1)
        for x in xs:
            count = np.int32(count * 2 + x)
        flags = np.logical_or.accumulate(xs > 3)
        return count, np.bool_(flags.any()), np.int64(xs.sum()), flags

    return [xs], [count, seen, total, flags], define, [(RNG.integers(-5, 6, t).astype("int32"),) for t in LENGTHS]


@case
def carries_that_change_places():
    xs = node("xs", "time")
    first = {"a": graphc.constant(1.0), "b": (graphc.constant(2.0), graphc.constant(3.0))}
    last, rows = graphc.scan(lambda c, x: ({"a": c["b"][0], "b": (c["b"][1], c["a"] + x)}, c["a"]), first, xs)

    def define(xs):
        a, b, c, rows = 1.0, 2.0, 3.0, []
        for x in xs:
            rows.append(a)
            a, b, c = b, c, a + float(x)
        return a, b, c, np.array(rows, "float32")

    return [xs], [last["a"], *last["b"], rows], define, of_lengths()


@case
def no_arrays_but_a_length():
    xs = node("xs", "time", 2)  # only names the length
    last, rows = graphc.scan(lambda h, _: (h * 2.0, h), graphc.constant(1.0), length="time")

    def define(xs):
        return 2.0 ** len(xs), 2.0 ** np.arange(len(xs), dtype="float32")

    return [xs], [last + 0.0 * xs.sum(), rows], define, of_lengths(2)


@case
def a_carry_that_no_step_changes():
    xs, first = node("xs", "time", 2), node("first", 2)
    last, rows = graphc.scan(lambda h, x: (h, h * x), first, xs)
    return (
        [xs, first],
        [last, rows],
        lambda xs, first: (first, first * xs),
        [(numbers(t, 2), numbers(2)) for t in LENGTHS],
    )


@case
def infinities_and_nan_in_carries():
    xs = node("xs", "time")
    last, rows = graphc.scan(lambda h, x: (h + x, h), graphc.constant(0.0), xs)

    def define(xs):
        with np.errstate(invalid="ignore"):
            return walked(lambda h, x: (np.float32(h + x), np.float32(h)), np.float32(0), xs)

    feeds = [
        np.array(x, "float32") for x in ([np.inf, 1, 2], [np.inf, -np.inf, 1], [1, np.nan, 2], [-0.0, 0.0, -np.inf])
    ]
    return [xs], [last, rows], define, [(x,) for x in feeds]


@case
def loops_in_loops_that_close_over_nodes():
    xs, w, b = node("xs", "time", 3), node("w", 3, 2), node("b", 2)

    def step(h, x):
        inner, _ = graphc.scan(lambda c, row: (c * 0.5 + row * h.sum(), c), b, w, reverse=True)
        return h + inner.sum() * x, inner

    last, rows = graphc.scan(step, graphc.ones((3,)), xs)

    def define(xs, w, b):
        def step(h, x):
            c = b
            for row in w[::-1]:
                c = c * np.float32(0.5) + row * h.sum()
            return h + c.sum() * x, c

        return walked(step, np.ones(3, "f"), xs, empty=(2,))

    return [xs, w, b], [last, rows], define, [(numbers(t, 3) * 0.3, numbers(3, 2), numbers(2)) for t in (0, 1, 4)]


@case
def an_inner_loop_without_steps():
    xs, ws = node("xs", "time", 3), node("ws", "inner", 3)
    last, _ = graphc.scan(lambda h, x: (graphc.scan(lambda c, w: (c * w, c), h, ws)[0] + x, x), graphc.ones((3,)), xs)

    def define(xs, ws):
        h = np.ones(3, "f")
        for x in xs:
            h = h * np.prod(ws, 0) + x
        return (h,)

    return (
        [xs, ws],
        [last],
        define,
        [(numbers(t, 3), numbers(n, 3)) for t, n in ((3, 0), (0, 3), (0, 0), (2, 1), (3, 4))],
    )


def branches(build):
    CASES[f"cond: {build.__name__}"] = build


@branches
def both_sides_and_their_gradients():
    x, p = node("x", 4, dtype="float64"), node("p", dtype="bool")
    y = graphc.cond(p, lambda: graphc.log(x), lambda: x * x)

    def define(x, p):
        with np.errstate(invalid="ignore"):
            return (np.log(x), 1 / x) if p else (x * x, 2 * x)

    feeds = [(x, np.array(p)) for x in (np.array([1.0, 2, 3, 4]), np.array([-1.0, 0.5, 2, 3])) for p in (True, False)]
    return [x, p], [y, graphc.grad(y.sum(), x)], define, feeds


@branches
def integers_booleans_and_nothing_else():
    n = node("n", dtype="int64")
    y = graphc.cond(n % 2 == 0, lambda: (n // 2, n > 5), lambda: (3 * n + 1, n < 5))

    def define(n):
        return (n // 2, n > 5) if n % 2 == 0 else (3 * n + 1, n < 5)

    return [n], list(y), define, [(np.array(k),) for k in (-3, 0, 4, 7, 10)]


@branches
def in_a_loop_in_a_branch():
    xs, p = node("xs", "time", 2), node("p", dtype="bool")

    def summing():
        step = lambda h, x: (graphc.cond(x.sum() > 0, lambda: h + x, lambda: h), h)  # noqa: E731
        return graphc.scan(step, graphc.zeros((2,)), xs)[0]

    y = graphc.cond(p, summing, lambda: graphc.ones((2,)))

    def define(xs, p):
        return (xs[xs.sum(1) > 0].sum(0) if p else np.ones(2),)

    return [xs, p], [y], define, [(numbers(t, 2), np.array(q)) for t in (0, 1, 6) for q in (True, False)]


@case
def while_loops_of_any_number_of_steps():
    a, b = node("a", dtype="int64"), node("b", dtype="int64")
    found, _ = graphc.while_loop(lambda c: c[1] != 0, lambda c: (c[1], c[0] % c[1]), (a, b))
    pairs = [(12, 18), (7, 0), (0, 5), (1, 1), (1071, 462)]
    return [a, b], [found], lambda a, b: (math.gcd(a, b),), [tuple(map(np.array, pair)) for pair in pairs]


@case
def while_loops_that_a_number_of_steps_ends():
    x = node("x", dtype="float64")
    y = graphc.while_loop(lambda v: v < 100.0, lambda v: v * v, x, max_steps=3)

    def define(x):
        value, slope, steps = x, 1.0, 0
        while value < 100 and steps < 3:
            value, slope, steps = value * value, slope * 2 * value, steps + 1
        return value, slope

    return [x], [y, graphc.grad(y, x)], define, [(np.array(v),) for v in (1.1, 2.0, 50.0, 100.0, 1000.0, -2.0)]


@case
def a_flag_ends_a_while_loop():
    x = node("x", "n")
    first = (graphc.constant(np.int64(0)), graphc.constant(True))
    steps, _ = graphc.while_loop(lambda c: c[1], lambda c: (c[0] + 1, (c[0] + 1).astype("float32") < x.sum()), first)
    return [x], [steps], lambda x: (max(1, math.ceil(x.sum())),), [(np.full(k, 1.5, "f"),) for k in (0, 1, 2, 3)]


@case
def for_loops_over_ranges():
    x = node("x", "n")
    loops = [(0, "n"), (2, 2), (5, 3), (-2, 3), (3, "n")]
    ends = [graphc.fori_loop(a, b, lambda i, c: c * 2 + i, graphc.constant(np.int64(1))) for a, b in loops]
    total = graphc.fori_loop(0, "n", lambda i, c: c + graphc.take(x, i), graphc.constant(0.0))

    def define(x):
        found = []
        for a, b in loops:
            c = 1
            for i in range(a, len(x) if b == "n" else b):
                c = c * 2 + i
            found.append(c)
        return *found, x.sum()

    return [x], [*ends, total], define, of_lengths()


@case
def maps_of_no_rows_and_of_some():
    xs, w = node("xs", "n", 3), node("w", 3)
    ys = graphc.map(lambda x: graphc.map(lambda e: e * x.sum(), x * w), xs)
    return (
        [xs, w],
        [ys],
        lambda xs, w: (xs * w * xs.sum(1, keepdims=True),),
        [(numbers(t, 3), numbers(3)) for t in LENGTHS],
    )


def attended(q, k, v, mask=None, causal=False):
    result = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        scores = k @ q[i] / np.sqrt(q.shape[1])
        if mask is not None:
            scores = np.where(mask[i], scores, -np.inf) if mask.dtype == bool else scores + mask[i]
        if causal:
            scores = np.where(np.arange(len(k)) <= i, scores, -np.inf)
        if len(scores) and scores.max() > -np.inf:
            weights = np.exp(scores - scores.max())
            result[i] = weights @ v / weights.sum()
    return result


def attends(name, mask_of=None, causal=False, block=4, sizes=((5, 9), (1, 9), (9, 5), (1, 1), (3, 4), (6, 0), (0, 6))):
    def build():
        shapes = (("t", 3), ("s", 3), ("s", 2))
        q, k, v = (node(n, *shape, dtype="float64") for n, shape in zip("qkv", shapes, strict=True))
        inputs = [q, k, v]
        if mask_of is not None:
            inputs.append(node("mask", "t", "s", dtype=str(mask_of(1, 1).dtype)))
        y = nn.scaled_dot_product_attention(q, k, v, attn_mask=None if mask_of is None else inputs[3], is_causal=causal)
        finite = [graphc.isfinite(g) for g in graphc.grad((y * y).sum(), [q, k, v])]

        def define(q, k, v, mask=None):
            return attended(q, k, v, mask, causal), *(np.ones(one.shape, bool) for one in (q, k, v))

        feeds = [
            (
                *(numbers(*shape, dtype="float64") for shape in ((t, 3), (s, 3), (s, 2))),
                *([] if mask_of is None else [mask_of(t, s)]),
            )
            for t, s in sizes
        ]
        return inputs, [y, *finite], define, feeds

    build.block = block
    CASES[f"attention: {name}"] = build


def low(t, s):
    """Scores of -inf for all sources of the second target, and for the first ones of all targets."""
    return np.where((np.arange(t) == 1)[:, None] | (np.arange(s) < 4), -np.inf, 0.0)


attends("all sources")
attends("causal, more sources, more targets, none", causal=True)
attends("no source for some targets", lambda t, s: (np.arange(t) % 2 == 0)[:, None] & np.ones(s, bool))
attends("no source at all", lambda t, s: np.zeros((t, s), bool))
attends(
    "a mask that leaves only what causal order hides", lambda t, s: np.arange(t)[:, None] < np.arange(s), causal=True
)
attends("scores of minus infinity", low)
attends("all scores of minus infinity", lambda t, s: np.full((t, s), -np.inf))
attends("blocks larger than what there is", low, block=128)


def aligned(logs, target):
    """-log of the probability of all paths that become the target, one path after another."""
    found = 0.0
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        labels = [label for label, _ in itertools.groupby(path) if label]
        found += np.exp(sum(logs[t, c] for t, c in enumerate(path))) if labels == list(target) else 0.0
    with np.errstate(divide="ignore"):
        return -np.log(found)


@case
def ctc_of_empty_repeated_and_impossible_targets():
    nodes = [node("logs", "time", "n", 3, dtype="float64")]
    nodes += [node(name, *shape, dtype="int64") for name, shape in (("y", ("n", "s")), ("t", ("n",)), ("c", ("n",)))]
    losses = nn.ctc_loss(*nodes, reduction="none")
    cost = nn.ctc_loss(*nodes, reduction="sum", zero_infinity=True)
    is_finite = graphc.isfinite(graphc.grad(cost, nodes[0])).all()

    def define(logs, labels, times, counts):
        rows = zip(np.swapaxes(logs, 0, 1), labels, times, counts, strict=True)
        found = np.array([aligned(row[:t], label[:c]) for row, label, t, c in rows])
        return found, found[np.isfinite(found)].sum(), np.bool_(True)

    # Nothing in no time, nothing, one label in one time, a repeat that just fits, and one that does not, too many, no time.
    labels = np.array([[0, 0, 0], [0, 0, 0], [2, 0, 0], [1, 1, 0], [1, 1, 0], [1, 2, 1], [2, 0, 0]])
    times, counts = np.array([0, 4, 1, 3, 2, 2, 0]), np.array([0, 0, 1, 2, 2, 3, 1])
    scores = RNG.normal(size=(4, 7, 3))
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    hard = logs.copy()
    hard[1, 1, 0] = -np.inf  # a blank that cannot be
    none = (logs[:, :0], labels[:0], times[:0], counts[:0])
    return (
        nodes,
        [losses, cost, is_finite],
        define,
        [(logs, labels, times, counts), (hard, labels, times, counts), none],
    )


@pytest.mark.parametrize("name", CASES)
def test_a_corner(name, monkeypatch):
    build = CASES[name]
    monkeypatch.setattr(attention, "BLOCK", getattr(build, "block", attention.BLOCK))
    inputs, outputs, define, feeds = build()
    step = graphc.compile(inputs, outputs, threads=2)
    for fed in feeds:
        expected = define(*fed)
        reference = graphc.evaluate(outputs, dict(zip(inputs, fed, strict=True)))
        for found in (step(*fed), reference):
            assert len(found) == len(expected)
            for number, (one, other) in enumerate(zip(found, expected, strict=True)):
                shapes = [array.shape for array in fed]
                assert one.shape == np.shape(other), (number, shapes)
                np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6, err_msg=f"result {number}, {shapes}")
