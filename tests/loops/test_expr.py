"""Scalar expressions."""

from graphc.dtypes import int64
from graphc.loops import expr


def read(buffer):
    return expr.check(expr.load(buffer, (0,), int64), 5, "take")


def test_indices_read_from_data_stand_in_an_order_that_does_not_depend_on_which_was_made_first():
    forward = [read(buffer) for buffer in range(8)]
    text = str(sum(forward[1:], forward[0]))
    del forward
    backward = [read(buffer) for buffer in reversed(range(8))]
    assert str(sum(backward[1:], backward[0])) == text
    assert len(set(map(str, backward))) == 8
