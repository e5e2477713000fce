"""Python's collector rests while a graph is compiled, and is then as it was."""

import gc
import os
import threading

import pytest

import graphc
from graphc import compiler
from graphc.uncollected import uncollected


@pytest.fixture(params=[True, False])
def enabled(request):
    """Whether the user has the collector run."""
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_it_is_as_it_was_after_a_compilation(enabled, monkeypatch):
    seen = []
    check = compiler._check_inputs
    monkeypatch.setattr(compiler, "_check_inputs", lambda graph: (seen.append(gc.isenabled()), check(graph)))
    x = graphc.input("x", (3,))
    graphc.compile([x], x + 1.0)
    assert seen == [False]
    assert gc.isenabled() == enabled


def test_it_is_as_it_was_after_an_error(enabled):
    x, y = graphc.input("x", (3,)), graphc.input("y", (3,))
    with pytest.raises(graphc.GraphError, match="'y'"):
        graphc.compile([x], x + y)
    assert gc.isenabled() == enabled


def test_the_last_of_several_threads_sets_it_again(enabled):
    inside, leave, seen = threading.Event(), threading.Event(), []

    def work():
        with uncollected():
            inside.set()
            leave.wait(10)
            seen.append(gc.isenabled())

    thread = threading.Thread(target=work)
    with uncollected():
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert seen == [False]
    assert gc.isenabled() == enabled


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_is_not_left_without_it(enabled):
    with uncollected():
        child = os.fork()
        if child == 0:
            os._exit(10 + gc.isenabled())
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 10 + enabled
