# pyright: basic, reportMissingTypeStubs=false, reportOptionalCall=false
"""Calls of C functions by address, from functions over whole arrays: by ctypes in plain Python, compiled as one call.

An address is known when a process runs, so it comes to the function as data and never stands in its code.
"""

import ctypes
import functools
from typing import Any


def pointer(array: Any, index: int) -> int:
    """Return the address of element `index` of a C-contiguous array, counted through all its dimensions."""
    return array.ctypes.data + int(index) * array.itemsize


def call_address(address: int, *arguments: int) -> None:
    """Call the C function at an address; its arguments are addresses, and it returns nothing."""
    ctypes.CFUNCTYPE(None, *(ctypes.c_void_p for _ in arguments))(int(address))(*(int(one) for one in arguments))


@functools.cache
def register() -> None:
    """Tell Numba what the two functions are in compiled code."""
    import llvmlite.ir as ir
    from numba.core import types
    from numba.core.typing.templates import AbstractTemplate, infer_global, signature
    from numba.extending import lower_builtin, type_callable
    from numba.np.arrayobj import make_array

    word = ir.IntType(64)

    @type_callable(pointer)
    def type_pointer(context: Any) -> Any:
        def typer(array: Any, index: Any) -> Any:
            return types.int64 if isinstance(array, types.Array) and isinstance(index, types.Integer) else None

        return typer

    @lower_builtin(pointer, types.Array, types.Integer)
    def lower_pointer(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        array = make_array(call.args[0])(context, builder, arguments[0])
        index = context.cast(builder, arguments[1], call.args[1], types.int64)
        start = builder.ptrtoint(array.data, word)
        itemsize = context.get_abi_sizeof(context.get_data_type(call.args[0].dtype))
        return builder.add(start, builder.mul(index, ir.Constant(word, itemsize)))

    # Numba's shorter way to state a type, as above, would pass many arguments as one tuple.
    @infer_global(call_address)
    class TypeCall(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            words = all(isinstance(one, types.Integer) for one in args)
            return signature(types.void, *args) if args and words and not kws else None

    @lower_builtin(call_address, types.VarArg(types.Any))
    def lower_call(context: Any, builder: Any, call: Any, arguments: Any) -> Any:
        pairs = zip(arguments, call.args, strict=True)
        words = [context.cast(builder, value, kind, types.int64) for value, kind in pairs]
        function = ir.FunctionType(ir.VoidType(), [word] * (len(words) - 1)).as_pointer()
        builder.call(builder.inttoptr(words[0], function), words[1:])
        return context.get_dummy_value()
