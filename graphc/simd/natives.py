# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportArgumentType=false
"""Users' own functions: the one part of a kernel that is Python at large, and so is compiled by Numba.

A kernel calls a function by a C signature: scalars as they are, an array as its address and its extents. The wrapper that
turns these into Numba's arrays and calling convention is made here, and linked into the kernel with what Numba made.
"""

import functools
from collections.abc import Callable
from typing import Any

from graphc.simd import foreign
from graphc.simd.kinds import SCALARS, ArrayType, SimdType
from graphc.simd.lanewise import Lanewise

# Called where a user's function would raise; unless the optimiser shows that it never does, the name stays undefined.
RAISES = "graphc_native_raises"

Types = tuple[SimdType | ArrayType, ...]


class NativeError(Exception):
    """Numba refuses a user's function, with this message."""

    def __init__(self, function: Callable[..., Any], message: str):
        super().__init__(message)
        self.function, self.message = function, message


class Native:
    """A user's Python function that kernels call; Numba compiles it, once for each list of argument types."""

    @staticmethod
    def of(name: str, function: Callable[..., Any]) -> "Native":
        """Return a function over whole arrays, the same for all kernels: what was compiled for one serves the others.

        A function of scalars is compiled for one list of types, which is the kernel's own.
        """
        return Native(name, function) if isinstance(function, Lanewise) else _known(name, function)

    def __init__(self, name: str, function: Callable[..., Any]):
        from numba import njit

        foreign.register()
        self.name = name
        self.lanewise = function if isinstance(function, Lanewise) else None
        plain = function.function if isinstance(function, Lanewise) else function
        self.dispatcher = njit(error_model="numpy", nogil=True)(getattr(plain, "py_func", plain))
        self.made: dict[Types, tuple[str, SimdType | None, tuple[str, str]]] = {}

    def compiled(self, types: Types) -> tuple[str, SimdType | None]:
        """Return the symbol to call for these arguments, and the result's type; raises NativeError."""
        if types not in self.made:
            self.made[types] = self._compile(types)
        symbol, result, _ = self.made[types]
        return symbol, result

    def texts(self) -> list[str]:
        """Return the LLVM modules of what was compiled."""
        return [text for _, _, texts in self.made.values() for text in texts]

    def _compile(self, types: Types) -> tuple[str, SimdType | None, tuple[str, str]]:
        from numba.core import types as numba
        from numba.core.errors import NumbaError

        scalars = {kind: getattr(numba, name) for kind, name in zip(SCALARS, _NUMBA_NAMES, strict=True)}
        arguments = tuple(
            numba.Array(scalars[SimdType(one.kind)], one.rank, "C") if isinstance(one, ArrayType) else scalars[one]
            for one in types
        )
        signature = scalars[SimdType(self.lanewise.kind)](*arguments) if self.lanewise else arguments
        try:
            self.dispatcher.compile(signature)
        except NumbaError as error:
            raise NativeError(self.dispatcher.py_func, str(error)) from None
        overload = self.dispatcher.overloads[arguments]
        returned = overload.signature.return_type
        result = next((kind for kind, known in scalars.items() if known == returned), None)
        if result is None and returned != numba.none:
            raise NativeError(self.dispatcher.py_func, f"it returns {returned}, which is no number of the dialect")
        symbol = "_".join(("native", self.name, *(str(one).replace(" ", "_") for one in types)))
        wrapper = _wrapper(symbol, self.dispatcher.targetctx, overload.fndesc)
        return symbol, result, (overload.library.get_llvm_str(), str(wrapper))


_NUMBA_NAMES = ("float32", "float64", "int32", "int64", "uint32", "uint8", "boolean")


@functools.lru_cache(maxsize=64)
def _known(name: str, function: Callable[..., Any]) -> Native:
    return Native(name, function)


def _wrapper(symbol: str, context: Any, descriptor: Any) -> Any:
    """Return a module that defines SYMBOL by the C signature; where the function would raise, it calls `RAISES`."""
    import llvmlite.ir as ir
    from numba.core import types

    word, module = ir.IntType(64), ir.Module(symbol)
    parts: list[Any] = []
    for one in descriptor.argtypes:
        parts += [word] * (1 + one.ndim) if isinstance(one, types.Array) else [context.get_value_type(one)]
    is_void = descriptor.restype == types.none
    returned = ir.VoidType() if is_void else context.get_value_type(descriptor.restype)
    function = ir.Function(module, ir.FunctionType(returned, parts), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    given, arguments = iter(function.args), []
    for one in descriptor.argtypes:
        first = next(given)
        if isinstance(one, types.Array):
            first = _array(context, builder, one, first, [next(given) for _ in range(one.ndim)])
        arguments.append(first)
    status, result = context.call_conv.call_function(
        builder, context.declare_function(module, descriptor), descriptor.restype, descriptor.argtypes, arguments
    )
    with builder.if_then(status.is_error, likely=False):
        builder.call(ir.Function(module, ir.FunctionType(ir.VoidType(), []), RAISES), [])
    builder.ret_void() if is_void else builder.ret(result)
    return module


def _array(context: Any, builder: Any, array_type: Any, address: Any, shape: list[Any]) -> Any:
    """Numba's representation of a C-contiguous array that owns nothing."""
    import llvmlite.ir as ir
    from numba.np.arrayobj import make_array, populate_array

    word = ir.IntType(64)
    item = context.get_data_type(array_type.dtype)
    itemsize = ir.Constant(word, context.get_abi_sizeof(item))
    stride: Any = itemsize
    strides: list[Any] = []
    for extent in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, extent)
    array = make_array(array_type)(context, builder)
    data = builder.inttoptr(address, item.as_pointer())
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()
