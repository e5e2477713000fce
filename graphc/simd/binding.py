# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportArgumentType=false
"""The dialect bound to Numba: a typing and a target context that know the dialect's records, `range`, and little else.

Numba's own CPU contexts register thousands of templates and would type `int32 + int32` as int64; these resolve a call
in one dictionary look-up, by the record's rule, and lower it by the record's builder. Numba still parses the source,
builds its IR, infers the types and lowers it; its optimiser and code generator never run.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphc.simd import foreign
from graphc.simd.dialect import FUNCTIONS, OPERATORS
from graphc.simd.emitter import Emitter, Value, llvm_type
from graphc.simd.kinds import SCALARS, VECTORS, ArrayType, SimdType
from graphc.simd.lanewise import Lanewise
from graphc.simd.levels import Level
from graphc.simd.ranges import lower_range, range_signature, range_types
from graphc.simd.record import Function

# Called where a user's function would raise; unless the optimiser shows that it never does, the name stays undefined.
RAISES = "graphc_native_raises"


class NativeError(Exception):
    """Numba refuses a user's function, with this message."""

    def __init__(self, function: Callable[..., Any], message: str):
        super().__init__(message)
        self.function, self.message = function, message


class Native:
    """A user's Python function that kernels call; Numba compiles it, once for each list of argument types."""

    def __init__(self, name: str, function: Callable[..., Any]):
        from numba import njit

        foreign.register()
        self.name = name
        self.lanewise = function if isinstance(function, Lanewise) else None
        if self.lanewise is not None:
            function = self.lanewise.function
        self.dispatcher = njit(error_model="numpy", nogil=True)(getattr(function, "py_func", function))

    def compiled(self, types: tuple[Any, ...], result: Any = None) -> Any:
        """Numba's compile result for these argument types, and this type of the result; raises NativeError."""
        from numba.core.errors import NumbaError

        try:
            self.dispatcher.compile(types if result is None else result(*types))
        except NumbaError as error:
            raise NativeError(self.dispatcher.py_func, str(error)) from None
        return self.dispatcher.overloads[types]

    def texts(self) -> list[str]:
        """Return the LLVM modules of what was compiled."""
        return [one.library.get_llvm_str() for one in self.dispatcher.overloads.values()]


@functools.lru_cache(maxsize=64)
def _native(name: str, function: Callable[..., Any]) -> Native:
    """Return a function over whole arrays, the same for all kernels: what Numba compiled for one serves the others."""
    return Native(name, function)


@functools.cache
def _numba_types() -> tuple[dict[SimdType, Any], dict[Any, SimdType], Callable[[Function | Native], Any]]:
    """Numba's type of each dialect type, the reverse, and the type of a dialect function."""
    from numba.core import types, typing
    from numba.core.datamodel import register_default
    from numba.core.datamodel.models import OpaqueModel, PrimitiveModel
    from numba.core.errors import TypingError

    class VectorType(types.Type):
        def __init__(self, simd: SimdType):
            self.simd = simd
            super().__init__(str(simd))

    class VectorModel(PrimitiveModel):
        def __init__(self, manager: Any, vector: VectorType):
            super().__init__(manager, vector, llvm_type(vector.simd))

    class FunctionType(types.Callable, types.Opaque):
        def __init__(self, function: Function | Native):
            self.function = function
            self.signatures: dict[tuple[Any, ...], Any] = {}
            super().__init__(f"simd.{function.name}#{id(function)}")

        def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
            if kws:
                raise TypingError(f"{self.function.name} takes no keywords")
            plain = [types.unliteral(one) for one in args]
            # Numba asks several times for each call.
            known = self.signatures.get(tuple(plain))
            if known is not None:
                return known
            if isinstance(self.function, Native):
                return lanes_signature(self.function, plain) or self.function.compiled(tuple(plain)).signature
            unknown = [str(one) for one in plain if one not in to_simd]
            if unknown:
                raise TypingError(f"{self.function.name}: {', '.join(unknown)} is not of the dialect")
            try:
                result = self.function.infer(*(to_simd[one] for one in plain))
            except TypeError as error:
                raise TypingError(str(error)) from None
            if isinstance(result, ArrayType):
                made = types.Array(scalars[result.kind], result.rank, "C")
            else:
                made = types.void if result is None else to_numba[result]
            return self.signatures.setdefault(tuple(plain), typing.signature(made, *plain))

        def get_call_signatures(self) -> Any:
            return (), True

        def get_impl_key(self, sig: Any) -> Any:
            return self.function

    def lanes_signature(native: Native, plain: list[Any]) -> Any:
        """Return the signature of a call of a function of scalars, which is compiled for those that are in the lanes."""
        if native.lanewise is None:
            return None
        kinds = [to_simd[one] for one in plain]
        operands, lanes = kinds[: native.lanewise.arity], kinds[0].lanes
        assert all(one.lanes == lanes for one in kinds)
        result = SimdType(native.lanewise.kind)
        native.compiled(tuple(to_numba[one.wide(1)] for one in operands), to_numba[result])
        return typing.signature(to_numba[result.wide(lanes)], *plain)

    register_default(VectorType)(VectorModel)
    register_default(FunctionType)(OpaqueModel)
    scalars = {
        "f32": types.float32,
        "f64": types.float64,
        "i32": types.int32,
        "i64": types.int64,
        "u32": types.uint32,
        "u8": types.uint8,
        "b": types.boolean,
    }
    to_numba: dict[SimdType, Any] = {kind: scalars[kind.kind] for kind in SCALARS}
    to_numba.update({kind: VectorType(kind) for kind in VECTORS})
    to_simd = {numba: simd for simd, numba in to_numba.items()}
    return to_numba, to_simd, functools.cache(FunctionType)


@functools.cache
def _typing_context() -> Any:
    from numba.core import types
    from numba.core.typing.context import BaseContext

    _, _, function_type = _numba_types()

    class KernelTyping(BaseContext):
        def _load_builtins(self) -> None:
            """Nothing: instantiating Numba's templates would import its NumPy support, and SciPy with it."""

        def resolve_value_type(self, val: Any) -> Any:
            if val is range:
                return range_types().function
            try:
                record = val if isinstance(val, Function | Native) else OPERATORS.get(val)
            except TypeError:  # not hashable
                record = None
            return super().resolve_value_type(val) if record is None else function_type(record)

        def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
            if isinstance(func, types.Callable):
                return func.get_call_type(self, args, kws)
            return range_signature(func, args) or super().resolve_function_type(func, args, kws)

        def unify_pairs(self, first: Any, second: Any) -> Any:
            # Numba would make a float64 of a variable that is once an int64 and once a float32; the twin would not.
            if types.undefined in (first, second) or types.unknown in (first, second):
                return super().unify_pairs(first, second)
            plain = types.unliteral(first)
            return plain if plain == types.unliteral(second) else None

    return KernelTyping()


@functools.cache
def _target_context(level: Level) -> Any:
    import llvmlite.binding as llvm
    import llvmlite.ir as ir
    from numba.core import types
    from numba.core.base import BaseContext
    from numba.core.callconv import CPUCallConv

    _, to_simd, _ = _numba_types()
    # Numba asks for sizes only to describe variables to a debugger; all levels agree on those of words.
    layout = llvm.create_target_data("e-m:e-i64:64-n8:16:32:64-S128")
    constants = {types.int64: ir.IntType(64), types.float64: ir.DoubleType(), types.boolean: ir.IntType(1)}

    class KernelTarget(BaseContext):
        allow_dynamic_globals = False

        def refresh(self) -> None:
            """Nothing: Numba's implementations are not wanted."""

        def codegen(self) -> None:
            return None

        @property
        def target_data(self) -> Any:
            return layout

        @property
        def call_conv(self) -> Any:
            return CPUCallConv(self)

        def get_constant_generic(self, builder: Any, ty: Any, val: Any) -> Any:
            if isinstance(ty, types.Callable | types.NoneType):
                return self.get_dummy_value()
            plain = constants.get(types.unliteral(ty))
            return super().get_constant_generic(builder, ty, val) if plain is None else ir.Constant(plain, val)

        def cast(self, builder: Any, val: Any, fromty: Any, toty: Any) -> Any:
            if types.unliteral(fromty) == types.unliteral(toty):
                return val
            return super().cast(builder, val, fromty, toty)

        def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
            record = getattr(fn, "function", None)
            if isinstance(record, Native):
                call = _call_native if record.lanewise is None else _call_lanes
                return lambda builder, args, location=None: call(self, builder, record, sig, args)
            if fn in ("getiter", "iternext", range_types().function):
                return lambda builder, args, location=None: lower_range(self, fn, builder, args)
            if not isinstance(record, Function):
                return super().get_function(fn, sig, _firstcall)

            def lowered(builder: Any, args: Any, location: Any = None) -> Any:
                emitter = Emitter(builder, level)
                kinds = [to_simd[types.unliteral(one)] for one in sig.args]
                values = [emitter.value(kind, value) for kind, value in zip(kinds, args, strict=True)]
                result = record.build(emitter, *values)
                if isinstance(sig.return_type, types.Array):
                    return _array(self, builder, sig.return_type, *result)
                return self.get_dummy_value() if result is None else result.ir

            return lowered

        def add_linking_libs(self, libs: Any) -> None:
            assert not libs

        def post_lowering(self, mod: Any, library: Any) -> None:
            pass

    return KernelTarget(_typing_context(), "cpu")


def _array(context: Any, builder: Any, array_type: Any, address: Value, shape: tuple[Value, ...]) -> Any:
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
        stride = builder.mul(stride, extent.ir)
    array = make_array(array_type)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address.ir, item.as_pointer()),
        shape=[extent.ir for extent in shape],
        strides=strides,
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


def _call_native(context: Any, builder: Any, native: Native, signature: Any, arguments: Any) -> Any:
    """Call a user's function; where it would raise, call a symbol that does not exist, which the symbol check finds."""
    import llvmlite.ir as ir

    descriptor = native.compiled(tuple(signature.args)).fndesc
    function = context.declare_function(builder.module, descriptor)
    status, result = context.call_conv.call_function(
        builder, function, signature.return_type, signature.args, arguments
    )
    with builder.if_then(status.is_error, likely=False):
        raises = builder.module.globals.get(RAISES)
        raises = raises or ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), RAISES)
        builder.call(raises, [])
    return result


def _call_lanes(context: Any, builder: Any, native: Native, signature: Any, arguments: Any) -> Any:
    """Call a user's function of scalars for each lane that the mask, if there is one, does not leave out."""
    import llvmlite.ir as ir
    from numba.core import cgutils, typing

    assert native.lanewise is not None
    arity = native.lanewise.arity
    to_numba, to_simd, _ = _numba_types()
    scalars = [to_numba[to_simd[one].wide(1)] for one in (signature.return_type, *signature.args[:arity])]
    inner = typing.signature(*scalars)
    lanes = to_simd[signature.return_type].lanes
    if lanes == 1:
        return _call_native(context, builder, native, inner, arguments)
    kind = context.get_value_type(signature.return_type)
    place = cgutils.alloca_once_value(builder, ir.Constant(kind, [0] * lanes))

    def call(lane: Any) -> None:
        values = [builder.extract_element(operand, lane) for operand in arguments[:arity]]
        value = _call_native(context, builder, native, inner, values)
        builder.store(builder.insert_element(builder.load(place), value, lane), place)

    with cgutils.for_range(builder, ir.Constant(ir.IntType(64), lanes)) as loop:
        if len(arguments) == arity:
            call(loop.index)
        else:
            with builder.if_then(builder.extract_element(arguments[arity], loop.index)):
                call(loop.index)
    return builder.load(place)


class _Library:
    """What Numba's lowering asks of a code library: a module to fill."""

    def __init__(self) -> None:
        self.module: Any = None

    def create_ir_module(self, name: str) -> Any:
        import llvmlite.ir

        self.module = llvmlite.ir.Module(name)
        return self.module

    def add_ir_module(self, module: Any) -> None:
        pass


@functools.cache
def _lower_class() -> Any:
    from numba.core.lowering import Lower

    class KernelLower(Lower):
        def emit_environment_object(self) -> None:
            """Return a kernel has no Python environment."""

        def pre_block(self, block: Any) -> None:
            """Nothing: Numba looks for try blocks here, instruction by instruction."""

    return KernelLower


@dataclass(frozen=True)
class KernelModule:
    """The LLVM module of a kernel (an `llvmlite.ir.Module`), and the texts of the modules of the natives it calls."""

    module: Any
    natives: tuple[str, ...]


def kernel_module(source: str, name: str, level: Level, natives: Mapping[str, Callable[..., Any]]) -> KernelModule:
    """Lower the kernel NAME of a source to a module that exports `void NAME(i64, i64, i64)`.

    Numba's errors pass through; `graphc.emit.objects` says what they mean.
    """
    from numba.core import compiler, types
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.funcdesc import PythonFunctionDescriptor
    from numba.core.targetconfig import ConfigStack
    from numba.core.typed_passes import type_inference_stage

    # A function of scalars is compiled for one list of types, which is the kernel's own.
    compiled = {
        native: Native(native, function) if isinstance(function, Lanewise) else _native(native, function)
        for native, function in natives.items()
    }
    namespace: dict[str, Any] = {**FUNCTIONS, **compiled}
    exec(compile(source, f"<kernel {name}>", "exec"), namespace)
    flags = compiler.Flags()
    flags.error_model = "numpy"
    flags.nrt = True  # natives inherit it: one that allocates is then compiled, and refused for the symbols it needs
    with global_compiler_lock, ConfigStack().enter(flags):
        typing, target = _typing_context(), _target_context(level)
        func_ir = compiler.run_frontend(namespace[name])
        inferred = type_inference_stage(typing, target, func_ir, (types.int64,) * 3, None)
        descriptor = PythonFunctionDescriptor.from_specialized_function(
            func_ir,
            inferred.typemap,
            inferred.return_type,
            inferred.calltypes,
            lambda *_, **__: f"graphc.{name}",
            inline=True,
            noalias=False,
            abi_tags=(),
        )
        library = _Library()
        _lower_class()(target, library, descriptor, func_ir).lower()
        _export(target, library.module, descriptor, name)
    return KernelModule(library.module, tuple(text for one in compiled.values() for text in one.texts()))


def _export(target: Any, module: Any, descriptor: Any, name: str) -> None:
    """Wrap Numba's calling convention in a plain C function, and make the rest internal so that it is inlined."""
    import llvmlite.ir as ir

    word = ir.IntType(64)
    exported = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 3), name)
    builder = ir.IRBuilder(exported.append_basic_block("entry"))
    inner = module.globals[descriptor.llvm_func_name]
    target.call_conv.call_function(builder, inner, descriptor.restype, descriptor.argtypes, exported.args)
    builder.ret_void()
    for function in module.functions:
        if not function.is_declaration and function is not exported:
            function.linkage = "internal"
