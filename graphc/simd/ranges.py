# pyright: basic, reportPrivateImportUsage=false
"""`for i in range(...)` in kernels, typed and lowered here: Numba's own would load its NumPy support (half a second).

A loop is a counter, a limit and a step, compared before each turn, which is the form that LLVM's loop passes know best.
"""

import functools
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RangeTypes:
    """Numba types: what `range(...)` gives, its iterator, one step of that, and the name `range` itself."""

    range: Any
    iterator: Any
    step: Any
    function: Any


@functools.cache
def range_types() -> RangeTypes:
    """Return the types, with their LLVM representations registered."""
    import llvmlite.ir as ir
    from numba.core import types, typing
    from numba.core.datamodel import register_default
    from numba.core.datamodel.models import OpaqueModel, PrimitiveModel
    from numba.core.errors import TypingError

    word = ir.IntType(64)

    class RangeType(types.Type):
        layout = ir.LiteralStructType([word, word, word])  # start, stop, step

    class IteratorType(types.Type):
        layout = ir.LiteralStructType([word.as_pointer(), word, word])  # the counter's slot, stop, step

    class LayoutModel(PrimitiveModel):
        def __init__(self, manager: Any, numba_type: Any):
            super().__init__(manager, numba_type, numba_type.layout)

    class FunctionType(types.Callable, types.Opaque):
        def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
            if kws or not 1 <= len(args) <= 3 or any(types.unliteral(one) != types.int64 for one in args):
                raise TypingError("range takes one to three i64 scalars")
            return typing.signature(names.range, *[types.int64] * len(args))

        def get_call_signatures(self) -> Any:
            return (), True

        def get_impl_key(self, sig: Any) -> Any:
            return range

    register_default(RangeType)(LayoutModel)
    register_default(IteratorType)(LayoutModel)
    register_default(FunctionType)(OpaqueModel)
    pair = types.Pair(types.int64, types.boolean)
    names = RangeTypes(RangeType("range"), IteratorType("range iterator"), pair, FunctionType("range function"))
    return names


def range_signature(name: Any, args: Any) -> Any:
    """Return the signature of one of the steps into which Numba takes a for loop apart, or None."""
    from numba.core import typing

    names = range_types()
    if name == "getiter" and args == (names.range,):
        return typing.signature(names.iterator, names.range)
    if name == "iternext" and args == (names.iterator,):
        return typing.signature(names.step, names.iterator)
    return None


def lower_range(context: Any, name: Any, builder: Any, args: Any) -> Any:
    """Emit `range(...)` (by its type), "getiter" or "iternext"."""
    import llvmlite.ir as ir

    if name == "getiter":
        return _iterator(builder, args[0])
    if name == "iternext":
        return _next(context, builder, args[0])
    word = ir.IntType(64)
    start, stop, step = {
        1: lambda: (ir.Constant(word, 0), args[0], ir.Constant(word, 1)),
        2: lambda: (*args, ir.Constant(word, 1)),
        3: lambda: args,
    }[len(args)]()
    value = ir.Constant(range_types().range.layout, ir.Undefined)
    for index, part in enumerate((start, stop, step)):
        value = builder.insert_value(value, part, index)
    return value


def _iterator(builder: Any, value: Any) -> Any:
    import llvmlite.ir as ir

    with builder.goto_entry_block():  # an inner loop starts many times
        counter = builder.alloca(ir.IntType(64))
    builder.store(builder.extract_value(value, 0), counter)
    iterator = builder.insert_value(ir.Constant(range_types().iterator.layout, ir.Undefined), counter, 0)
    for index in (1, 2):
        iterator = builder.insert_value(iterator, builder.extract_value(value, index), index)
    return iterator


def _next(context: Any, builder: Any, iterator: Any) -> Any:
    import llvmlite.ir as ir

    counter, stop, step = (builder.extract_value(iterator, index) for index in range(3))
    now = builder.load(counter)
    rising = builder.icmp_signed(">", step, ir.Constant(step.type, 0))
    more = builder.select(rising, builder.icmp_signed("<", now, stop), builder.icmp_signed(">", now, stop))
    builder.store(builder.add(now, step, flags=("nsw",)), counter)
    pair = context.make_helper(builder, range_types().step)
    pair.first, pair.second = now, more
    return pair._getvalue()
