"""What binding a plan of many steps found is kept beside the plan; it serves the same plan, sizes and threads only."""

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.emit import cache
from graphc.runtime import barriers, binding, memory, sharing
from graphc.runtime.program import repeated

DEPTH, WIDTH = 12, 6


def trained():
    """A step of a network so deep that its memory is kept, with its weights."""
    graphc.seed(3)
    x, y = graphc.input("x", ("batch", WIDTH)), graphc.input("y", ("batch",), "int32")
    net = nn.Sequential(*[m for _ in range(DEPTH) for m in (nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh())])
    step = graphc.compile(
        [x, y], nn.cross_entropy(net(x), y), updates=optim.SGD(0.1).minimize(nn.cross_entropy(net(x), y))
    )
    return step, net


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache that is used, and the number of times that places were looked for."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHC_VERIFY", "0")
    looked = []
    assign = memory.assign
    monkeypatch.setattr(memory, "assign", lambda *given: (looked.append(given), assign(*given)))
    return looked


def test_a_later_start_takes_the_places_that_were_found_and_computes_the_same(kept):
    arrays = np.random.default_rng(0).normal(size=(5, WIDTH)).astype("float32"), np.arange(5, dtype="int32")
    found = []
    for _ in range(2):
        step, net = trained()
        losses = [float(step(*arrays)) for _ in range(3)]
        found.append((losses, [p.value.copy() for p in net.parameters()], len(kept)))
    (losses, weights, looked), (again, same, later) = found
    assert looked > 0
    assert later == looked
    assert again == losses
    assert all(np.array_equal(a, b) for a, b in zip(weights, same, strict=True))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_read_is_what_was_found_and_is_valid(kept, threads, paused):
    plan = trained()[0].plan
    sizes = {"batch": 70_000}  # much work, so threads share it and wait for each other
    if paused:
        specs = trained()[0]._specs
        plan, _ = repeated(plan, specs, (0, 1))
        sizes |= {"_ steps": 4}
    layout, separations = binding.assign_memory(plan, sizes, threads, paused)
    looked = len(kept)
    read, same = binding.assign_memory(plan, sizes, threads, paused)
    assert len(kept) == looked > 0
    assert (read.offsets, read.arena, same) == (layout.offsets, layout.arena, separations)
    assert bool(same) == (threads > 1)
    barriers.verify(read, same, paused)


def test_other_sizes_threads_and_plans_are_placed_anew(kept):
    plan = trained()[0].plan
    binding.assign_memory(plan, {"batch": 7}, 2)
    looked = [len(kept)]
    for other, batch, threads in ((plan, 8, 2), (plan, 7, 1), (repeated(plan, trained()[0]._specs, ())[0], 7, 2)):
        binding.assign_memory(other, {"batch": batch, "_ steps": 2}, threads)
        looked.append(len(kept))
    assert looked == sorted(set(looked))


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [(memory, "OWNED_WORK", 1), (binding, "BARRIER_WORK", 1), (sharing, "RULE", sharing.FREE)],
)
def test_places_found_by_another_rule_are_not_taken(kept, monkeypatch, module, name, other):
    plan = trained()[0].plan
    binding.assign_memory(plan, {"batch": 7}, 2)
    looked = len(kept)
    monkeypatch.setattr(module, name, other)
    binding.assign_memory(plan, {"batch": 7}, 2)
    assert len(kept) > looked


def test_what_was_kept_tells_the_arena_before_anything_else_is_done(kept, monkeypatch):
    plan = trained()[0].plan
    told = []
    lay_out = memory.lay_out
    monkeypatch.setattr(memory, "lay_out", lambda *given: (told.append("laid out"), lay_out(*given))[1])
    for order in (["laid out", "arena"], ["arena", "laid out"]):
        told.clear()
        layout, _ = binding.assign_memory(plan, {"batch": 7}, 2, False, lambda nbytes: told.append(("arena", nbytes)))
        assert told == [("arena", layout.arena) if what == "arena" else what for what in order]


def test_a_small_plan_leaves_nothing_behind(kept):
    x = graphc.input("x", ("batch", 3))
    run = graphc.compile([x], graphc.tanh(x) + 1.0)
    for batch in range(5):
        run(np.ones((batch, 3), "float32"))
    assert not [entry for entry in cache.entries() if entry.kind == "memory"]
