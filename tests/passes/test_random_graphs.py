"""Random graphs mean the same before and after the passes, NaN and infinity included."""

import pytest

from tests.passes.random_graphs import failure


@pytest.mark.parametrize("seed", range(300))
def test_passes_keep_the_meaning(seed):
    assert not failure(seed)
