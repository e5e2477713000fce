"""A loop in pieces gives the bits of one that stores everything: some of the random loops that once did not."""

import pytest

from tests.passes.random_loops import Program, differing

# What their bits hung on: rows or lanes, or a transpose that is absorbed, which only some forms have; sums put together once
# outside; a single example, or step; a place taken by another array.
SEEDS = (2, 8, 14, 48, 75, 217, 356)


@pytest.mark.parametrize("seed", SEEDS)
def test_loops_in_pieces_give_the_bits_of_storing_everything(seed):
    program = Program(seed)
    assert differing(program) == [], str(program)
