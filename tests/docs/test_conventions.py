"""The tables on promotion, casting and ties against rules stated here."""

import numpy as np
import pytest

from tests.docs import conventions
from tests.docs.conventions import DTYPES, TIES

# By the definitions: halves at ties of two, even shares of a maximum, the side that torch.clamp takes, limits elsewhere.
SLOPES = {
    "maximum(x, 1) at x = 1": 0.5,
    "minimum(x, 1) at x = 1": 0.5,
    "max(x) at x = [2, 2, 1]": [0.5, 0.5, 0],
    "min(x) at x = [2, 1, 1]": [0, 0.5, 0.5],
    "sum(sort(x) * [1, 2, 3]) at x = [5, 5, 4]": [2, 3, 1],
    "median(x) at x = [1, 2, 4, 8]": [0, 0.5, 0.5, 0],
    "prod(x) at x = [0, 2, 3]": [6, 0, 0],
    "clip(x, 0, 1) at x = 1": 1,
    "abs(x) at x = 0": 0,
    "relu(x) at x = 0": 0,
    "sign(x) at x = 0": 0,
    "floor(x) at x = 1.5": 0,
    "remainder(x, 2) at x = 4": 1,
    "sqrt(x) at x = 0": np.inf,
    "log(x) at x = 0": np.inf,
    "x**2 at x = 0": 0,
    "x**x at x = 0": 0,
    "global_norm(x) at x = [0, 0]": [0, 0],
    "std(x) at x = [1, 1]": [0, 0],
    "atan2(x, x) at x = 0": 0,
    "where(x > 0, x, 0) at x = 0": 0,
    "where(x > 0, log(x), 0) at x = 0": np.nan,
}


def test_two_arrays():
    table = conventions.promotion()
    for a, row in zip(DTYPES, table, strict=True):
        for b, got in zip(DTYPES, row, strict=True):
            floats = [dtype for dtype in (a, b) if dtype.kind == "f"]
            expected = max(floats, key=lambda dtype: dtype.itemsize) if floats else np.promote_types(a.numpy, b.numpy)
            assert got == expected.name, (a, b)


def test_an_array_and_a_number():
    for a, row in zip(DTYPES, conventions.with_numbers(), strict=True):
        of_int = "int64" if a.kind == "b" else a.name
        assert row == [a.name, of_int, a.name if a.kind == "f" else "float32"]


def test_arrays_given_to_a_call():
    for a, row in zip(DTYPES, conventions.at_calls(), strict=True):
        for b, got in zip(DTYPES, row, strict=True):
            if a is b:
                expected = "as it is"
            elif b.kind == "b" or (a.kind == "f" and b.kind != "f"):
                expected = "DTypeError"
            else:
                expected = "converted" if b.kind == "f" or np.can_cast(a.numpy, b.numpy) else "if it fits"
            assert got == expected, (a, b)


def test_every_tie_is_stated_here():
    assert SLOPES.keys() == TIES.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TIES)
def test_ties(name):
    np.testing.assert_array_equal(conventions.slope(*TIES[name]), SLOPES[name])
