"""Operations on the bits of integers."""

from __future__ import annotations

import numpy as np

from graphc.ops.elementwise import Elementwise


class ShiftRight(Elementwise):
    """Unsigned bits shifted right."""

    name = "bitwise_right_shift"
    function = "shift_right"
    accepts = "u"
    meaning = np.right_shift
