"""One row for each op, and for builders with a behaviour of their own: what every check of ops runs over.

A row gives a builder, its operands (shape, kind of numbers, safe domain), an independent NumPy definition, hard values
(one tuple for each position, an item for each operand, in the operand's dtype), and calls that must raise: (call, error)
or (call, error, regular expression found in the message). Besides, each hard value in `spoils` is put anywhere into
each operand. Kinds: "f" runs in float32 and float64; "i" is int64, "i32" int32, "u" uint32, "u8" uint8, "b" bool.
"""

from tests.ops.catalogue import (
    contraction,
    control,
    convolution,
    elementwise,
    indexing,
    integers,
    linalg,
    movement,
    pooling,
    random,
    reduction,
    sorting,
)
from tests.ops.catalogue.row import Row, cases

ROWS: tuple[Row, ...] = (
    *elementwise.ROWS,
    *integers.ROWS,
    *movement.ROWS,
    *reduction.ROWS,
    *contraction.ROWS,
    *convolution.ROWS,
    *pooling.ROWS,
    *linalg.ROWS,
    *indexing.ROWS,
    *sorting.ROWS,
    *random.ROWS,
    *control.ROWS,
)

__all__ = ["ROWS", "Row", "cases"]
