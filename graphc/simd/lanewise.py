"""A user's function of scalars, called for one lane after another: what it is to the dialect, and its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.records import record
from graphc.simd.kinds import DTYPES


@record
class Lanewise:
    """`function` of `arity` scalars (f64, i64 or b), whose result is of `kind`, one of those.

    Called with scalars, or with vectors of equal length and then, perhaps, a mask: lanes that it leaves out are 0, and the
    function is not called for them. So are arrays of any one shape.
    """

    function: Callable[..., Any]
    arity: int
    kind: str

    def __call__(self, *arguments: Any) -> Any:
        operands = [np.asarray(one) for one in arguments[: self.arity]]
        masks = arguments[self.arity :]
        result = np.zeros(operands[0].shape, DTYPES[self.kind])
        with np.errstate(all="ignore"):
            for place in np.ndindex(result.shape):
                if not masks or masks[0][place]:
                    result[place] = self._one(*(operand[place] for operand in operands))
        return result[()]

    def _one(self, *scalars: Any) -> Any:
        # Compiled, math gives what the C library does: NaN outside of a function's domain, infinity beyond all floats.
        try:
            return self.function(*scalars)
        except ValueError:
            return np.nan
        except OverflowError:
            return np.inf
