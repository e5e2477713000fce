"""Random sets of updates: swaps, transposed reads of oneself, slots, values that are leaves or outputs too."""

import numpy as np

import graphc


def random_updates(seed):
    """Return inputs, outputs, updates that read what others replace, all leaves, and feeds."""
    rng = np.random.default_rng([seed, 7])

    def pick(items):
        return items[int(rng.integers(len(items)))]

    side = int(pick([1, 3, 16, 17, 20]))
    matrices = [graphc.parameter(rng.normal(size=(side, side)), f"p{k}", dtype="float64") for k in range(4)]
    vectors = [graphc.parameter(rng.normal(size=side), f"v{k}", dtype="float64") for k in range(3)]
    numbers = [graphc.state(rng.normal(), f"c{k}", dtype="float64") for k in range(2)]
    places = [graphc.state(rng.integers(0, side, side), f"k{k}", dtype="int32") for k in range(2)]
    x = graphc.input("x", ("n", side), "float64")
    pools = [list(matrices), list(vectors), [*numbers, x.sum() * 0.01], list(places)]
    m, v, c, k = (lambda pool=pool: pick(pool[-8:]) for pool in pools)
    kinds = [
        [
            lambda: m().T,
            lambda: m() + m() * 0.5,
            lambda: m() @ m() * 0.1,
            lambda: graphc.tanh(m()) + v(),
            lambda: m() * c(),
            lambda: graphc.take(m(), k(), axis=pick([0, 1])),
            lambda: graphc.grad(graphc.tanh(x @ m()).sum(), pick(matrices), disconnected="zeros"),
            lambda: graphc.scan(lambda h, row: (graphc.tanh(h) * 0.5 + row, h), v(), m())[1],
            lambda: graphc.cond(c() > 0, lambda a, b: a.T, lambda a, b: b * 2.0, m(), m()),
            lambda: graphc.scatter_add(k(), m(), side),
            lambda: graphc.broadcast_to(v(), (side, side)),
            lambda: graphc.where(m() > v(), m(), c()),
        ],
        [
            lambda: m().sum(axis=pick([0, 1])) * 0.1,
            lambda: graphc.flip(v()),
            lambda: graphc.take(v(), k()),
            lambda: v() * 0.5 + v() * c(),
            lambda: graphc.cumulative_sum(v()) * 0.1,
            lambda: m()[:, 0],
            lambda: graphc.full((side,), pick([0.0, 2.0]), dtype="float64"),
            lambda: graphc.softmax(v()),
            lambda: graphc.scan(lambda h, row: (graphc.tanh(h @ matrices[0]) + row, h), v(), m())[0],
        ],
        [lambda: v().sum() * 0.1, lambda: c() * 0.9 + c()],
        [lambda: k()[::-1], lambda: graphc.remainder(k() + k(), side)],
    ]
    for _ in range(int(rng.integers(4, 22))):
        which = int(rng.choice(4, p=[0.45, 0.35, 0.1, 0.1]))
        pools[which].append(pick(kinds[which])())
    stored = [matrices, vectors, numbers, places]
    updates = {
        leaf: pick(pool if rng.random() < 0.5 else pool[: len(group)])
        for pool, group in zip(pools, stored, strict=True)
        for leaf in group
        if rng.random() < 0.7
    }
    if rng.random() < 0.3:
        updates |= {matrices[0]: matrices[1], matrices[1]: matrices[0], matrices[2]: matrices[2].T}
    if rng.random() < 0.3:  # as Adam: a slot, and a parameter that reads what the slot becomes
        p, slot, second, gradient = *matrices[:3], pools[0][-1]
        mean = slot * 0.9 + gradient * 0.1
        updates |= {slot: mean, second: second * 0.99 + gradient * gradient * 0.01}
        updates[p] = p - 0.1 * mean / (graphc.abs(second) + 1.0)
    outputs = [pick(pick(pools)) for _ in range(int(rng.integers(0, 4)))]
    outputs += [pick(list(updates.values()))] if updates and rng.random() < 0.4 else []
    feeds = {x: rng.normal(size=(int(pick([0, 1, 4])), side))}
    return [x], [*outputs, pick(matrices)], updates, [leaf for group in stored for leaf in group], feeds
