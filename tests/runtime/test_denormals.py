"""`flush_denormals`: numbers too small to be normal are zeros in an executable's calls, and nowhere else."""

import numpy as np
import pytest

import graphc

LEAST = np.finfo(np.float32).smallest_normal
N = 1 << 20
TINY = np.full(N, LEAST, np.float32)


def halved(**options):
    """An executable that halves, with enough to do for several threads."""
    x = graphc.input("x", (N,))
    return graphc.compile([x], x * 0.5 + graphc.sin(x * 0), **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_results_are_flushed_on_every_thread(threads):
    flushing, keeping = halved(threads=threads, flush_denormals=True), halved(threads=threads)
    for _ in range(3):
        assert (flushing(TINY) == 0).all()
        assert (keeping(TINY) == LEAST / 2).all()
        # Python's own arithmetic is as it was.
        assert (TINY * np.float32(0.5) == LEAST / 2).all()


def test_operands_are_flushed():
    assert (halved(flush_denormals=True)(TINY / 2) == 0).all()
    assert (halved()(TINY / 2) == LEAST / 4).all()


def test_bound_repeated_and_rebound_calls_flush():
    w = graphc.parameter(np.full(4, LEAST, np.float32), "w")
    step = graphc.compile([], w * 1.0, {w: w * 0.5}, flush_denormals=True)
    step.bind()()
    assert (w.value == 0).all()
    w.value[:] = LEAST
    step.repeat(1).run()
    assert (w.value == 0).all()
    other = np.full(4, LEAST, np.float32)
    step.rebind({w: other})()
    assert (other == 0).all()
    assert step.flush_denormals


def test_fit_flushes():
    x = graphc.input("x", ("batch",))
    for flushes in (True, False):
        w = graphc.parameter(np.full(4, LEAST, np.float32), "w")
        step = graphc.compile([x], graphc.sum(x), {w: w * 0.5}, flush_denormals=flushes)
        graphc.fit(step, {x: np.ones(2, np.float32)}, verbose=False)
        assert (w.value == (0 if flushes else LEAST / 2)).all()
