"""Random graphs mean the same before and after the passes, NaN and infinity included."""

from collections import Counter

import pytest

from graphc.passes import PASSES, collect_updates, drop_marks
from tests.passes.random_graphs import failure, random_graph


@pytest.mark.parametrize("seed", range(120))
def test_passes_keep_the_meaning(seed):
    assert not failure(seed)


@pytest.mark.parametrize("seed", range(50))
def test_passes_that_run_again_do_all_they_can_at_once(seed):
    # `run_passes` leaves them out where nothing has changed since.
    made = random_graph(seed)
    if made is None:
        return
    graph, _, training = made
    graph = drop_marks(collect_updates(graph, training), training)
    often = {step for step, count in Counter(PASSES).items() if count > 1}
    for step in PASSES:
        graph = step(graph)
        assert step not in often or step(graph) is graph, step.__name__
