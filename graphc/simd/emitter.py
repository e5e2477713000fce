# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportUnknownLambdaType=false
"""The dialect's arithmetic on LLVM values: the half of a formula's two meanings that becomes machine code.

`Emitter` and `graphc.simd.arrays.Arrays` have the same methods, and `Value` the same operators as a NumPy array, so
that a formula written once (`graphc.simd.formulas`, `graphc.simd.philox`) runs on both. Neither emits fast-math
flags: a NaN stays a NaN, and no multiply and add is fused that the formula did not fuse, so both give the same bits.
"""

import functools
from collections.abc import Callable
from typing import Any

from graphc.simd.kinds import SimdType
from graphc.simd.levels import Level


class Value:
    """An LLVM value with its dialect type and the operators of the dialect."""

    __slots__ = ("emitter", "ir", "type")

    def __init__(self, emitter: "Emitter", kind: SimdType, ir: Any):
        self.emitter = emitter
        self.type = kind
        self.ir = ir

    def _binary(self, other: "Value", float_name: str, integer_name: str) -> "Value":
        name = float_name if self.type.is_float else integer_name
        return Value(self.emitter, self.type, getattr(self.emitter.builder, name)(self.ir, other.ir))

    def __add__(self, other: "Value") -> "Value":
        return self._binary(other, "fadd", "add")

    def __sub__(self, other: "Value") -> "Value":
        return self._binary(other, "fsub", "sub")

    def __mul__(self, other: "Value") -> "Value":
        return self._binary(other, "fmul", "mul")

    def __truediv__(self, other: "Value") -> "Value":
        return self._binary(other, "fdiv", "fdiv")

    def __and__(self, other: "Value") -> "Value":
        return self._binary(other, "and_", "and_")

    def __or__(self, other: "Value") -> "Value":
        return self._binary(other, "or_", "or_")

    def __xor__(self, other: "Value") -> "Value":
        return self._binary(other, "xor", "xor")

    def __neg__(self) -> "Value":
        builder = self.emitter.builder
        return Value(self.emitter, self.type, builder.fneg(self.ir) if self.type.is_float else builder.neg(self.ir))

    def __invert__(self) -> "Value":
        return Value(self.emitter, self.type, self.emitter.builder.not_(self.ir))

    def _compare(self, other: "Value", sign: str) -> "Value":
        builder = self.emitter.builder
        if self.type.is_float:
            # Only "not equal" is true of a NaN.
            compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
        else:
            compare = builder.icmp_signed if self.type.is_signed else builder.icmp_unsigned
        return Value(self.emitter, self.type.of("b"), compare(sign, self.ir, other.ir))

    def __lt__(self, other: "Value") -> "Value":
        return self._compare(other, "<")

    def __le__(self, other: "Value") -> "Value":
        return self._compare(other, "<=")

    def __gt__(self, other: "Value") -> "Value":
        return self._compare(other, ">")

    def __ge__(self, other: "Value") -> "Value":
        return self._compare(other, ">=")

    def __eq__(self, other: "Value") -> "Value":  # type: ignore[override]
        return self._compare(other, "==")

    def __ne__(self, other: "Value") -> "Value":  # type: ignore[override]
        return self._compare(other, "!=")

    __hash__ = None  # type: ignore[assignment]


@functools.cache
def llvm_type(kind: SimdType) -> Any:
    """Return the LLVM type of a value (booleans are one bit)."""
    import llvmlite.ir as ir

    element = {"f32": ir.FloatType, "f64": ir.DoubleType}.get(kind.kind)
    llvm = element() if element else ir.IntType(kind.bits)
    return llvm if kind.lanes == 1 else ir.VectorType(llvm, kind.lanes)


@functools.lru_cache(4096)
def _vector_constant(kind: SimdType, text: str, numbers: tuple[float, ...]) -> Any:
    """Return a vector of one number or of as many as lanes, kept: llvmlite is slow to make and to print one."""
    import llvmlite.ir as ir

    lanes = [float(one) if kind.is_float else int(one) for one in numbers]
    return ir.Constant(llvm_type(kind), lanes if len(lanes) == kind.lanes else lanes * kind.lanes)


class Emitter:
    """Arithmetic that appends LLVM instructions at a builder's position, for one CPU level."""

    def __init__(self, builder: Any, level: Level):
        import llvmlite.ir

        self.ir: Any = llvmlite.ir
        self.builder = builder
        self.level = level

    @property
    def has_fma(self) -> bool:
        return self.level.fma

    # Types and constants

    def llvm_type(self, kind: SimdType) -> Any:
        """Return the LLVM type of a value (booleans are one bit)."""
        return llvm_type(kind)

    def value(self, kind: SimdType, ir: Any) -> Value:
        return Value(self, kind, ir)

    def type_of(self, x: Value) -> SimdType:
        return x.type

    def constant(self, kind: SimdType, number: float | list[int]) -> Value:
        """Return a scalar, a splat, or (from a list) a vector known at compile time."""
        if kind.lanes == 1 and not isinstance(number, list):
            exact = float(number) if kind.is_float else int(number)
            return Value(self, kind, self.ir.Constant(self.llvm_type(kind), exact))
        numbers = tuple(number) if isinstance(number, list) else (number,)
        # By its text, because 0.0 and -0.0 are equal.
        return Value(self, kind, _vector_constant(kind, repr(numbers), numbers))

    def known(self, x: Value) -> int | None:
        """Return the integer that x is at compile time, if it is one."""
        constant = isinstance(x.ir, self.ir.Constant) and isinstance(x.ir.constant, int)
        return int(x.ir.constant) if constant else None

    def splat(self, x: Value, lanes: int) -> Value:
        kind = x.type.wide(lanes)
        llvm = self.llvm_type(kind)
        if isinstance(x.ir, self.ir.Constant) and not isinstance(x.ir.constant, str):
            return self.constant(kind, x.ir.constant)
        nothing = self.ir.Constant(llvm, self.ir.Undefined)
        index = self.ir.IntType(32)
        first = self.builder.insert_element(nothing, x.ir, self.ir.Constant(index, 0))
        zeros = self.ir.Constant(self.ir.VectorType(index, lanes), [0] * lanes)
        return Value(self, kind, self.builder.shuffle_vector(first, nothing, zeros))

    def lanes(self, x: Value, indexes: list[int]) -> Value:
        """Return the vector (or scalar, of one index) of the lanes with these numbers."""
        index = self.ir.IntType(32)
        if len(indexes) == 1:
            return Value(self, x.type.wide(1), self.builder.extract_element(x.ir, self.ir.Constant(index, indexes[0])))
        mask = self.ir.Constant(self.ir.VectorType(index, len(indexes)), indexes)
        nothing = self.ir.Constant(x.ir.type, self.ir.Undefined)
        return Value(self, x.type.wide(len(indexes)), self.builder.shuffle_vector(x.ir, nothing, mask))

    def pick(self, a: Value, b: Value, indexes: list[int]) -> Value:
        """Return the lanes of two vectors at these places, those of the second after those of the first."""
        mask = self.ir.Constant(self.ir.VectorType(self.ir.IntType(32), len(indexes)), indexes)
        return Value(self, a.type.wide(len(indexes)), self.builder.shuffle_vector(a.ir, b.ir, mask))

    def lane(self, x: Value, index: Value) -> Value:
        return Value(self, x.type.wide(1), self.builder.extract_element(x.ir, index.ir))

    # Conversions

    def convert(self, x: Value, kind: str) -> Value:
        """Convert to another kind: float to integer truncates and saturates (NaN to 0), integers wrap, b is x != 0."""
        source, target = x.type, x.type.of(kind)
        if source == target:
            return x
        if kind == "b":
            return x != self.constant(source, 0)
        if isinstance(x.ir, self.ir.Constant) and target.is_float and isinstance(x.ir.constant, int | float):
            return self.constant(target, float(x.ir.constant))
        llvm, builder = self.llvm_type(target), self.builder
        if source.is_float and target.is_float:
            ir = (builder.fpext if target.bits > source.bits else builder.fptrunc)(x.ir, llvm)
        elif source.is_float:
            return self._truncate(x, target)
        elif target.is_float:
            ir = (builder.sitofp if source.is_signed else builder.uitofp)(x.ir, llvm)
        elif target.bits < source.bits:
            ir = builder.trunc(x.ir, llvm)
        elif target.bits > source.bits:
            ir = (builder.sext if source.is_signed else builder.zext)(x.ir, llvm)
        else:
            ir = x.ir  # LLVM's integers have no sign
        return Value(self, target, ir)

    def _truncate(self, x: Value, target: SimdType) -> Value:
        """Float to integer, saturating; LLVM's own llvm.fptosi.sat takes vectors apart into lanes."""
        source = x.type
        lowest = -(2 ** (target.bits - 1)) if target.is_signed else 0
        highest = lowest + 2**target.bits - 1
        # Both limits are floats. Out of them (and at NaN) the conversion is undefined, so its argument is replaced.
        above = x >= self.constant(source, float(highest + 1))
        below = x < self.constant(source, float(lowest))
        outside = above | below | (x != x)
        inside = self.select(outside, self.constant(source, 0.0), x)
        convert = self.builder.fptosi if target.is_signed else self.builder.fptoui
        result = Value(self, target, convert(inside.ir, self.llvm_type(target)))
        result = self.select(above, self.constant(target, highest), result)
        return self.select(below, self.constant(target, lowest), result) if target.is_signed else result

    def bits(self, x: Value, kind: str) -> Value:
        """Return the same bits read as another kind of the same width."""
        target = x.type.of(kind)
        return Value(self, target, self.builder.bitcast(x.ir, self.llvm_type(target)))

    # Masks as a whole

    def _mask_bits(self, mask: Value) -> Any:
        return self.builder.bitcast(mask.ir, self.ir.IntType(mask.type.lanes))

    def any_lane(self, mask: Value) -> Value:
        """Whether any lane of a mask is set: one comparison, where a tree would shuffle single bits."""
        bits = self._mask_bits(mask)
        return Value(self, mask.type.wide(1), self.builder.icmp_unsigned("!=", bits, self.ir.Constant(bits.type, 0)))

    def first_lane(self, x: Value, mask: Value) -> Value:
        """Return the first lane of x whose mask is set (one is)."""
        set_bits = self._mask_bits(mask)
        function = self.declare(f"llvm.cttz.{set_bits.type}", set_bits.type, [set_bits.type, self.ir.IntType(1)])
        index = self.builder.call(function, [set_bits, self.ir.Constant(self.ir.IntType(1), 1)])
        return Value(self, x.type.wide(1), self.builder.extract_element(x.ir, index))

    def corrected(
        self,
        mask: Value,
        values: tuple[Value, ...],
        compute: Callable[["Emitter", Value], tuple[Value, ...]],
        argument: Value,
    ) -> tuple[Value, ...]:
        """Return the values, where the mask is set those that `compute` gives; it only runs if any lane is set.

        It is a function of its own: inside a loop its many constants would be made before it and crowd the registers.
        """
        before = self.builder.block
        any_lane = mask if mask.type.lanes == 1 else self.any_lane(mask)
        with self.builder.if_then(any_lane.ir, likely=False):
            types = [value.ir.type for value in values]
            together = self.builder.call(self._cold_function(compute, argument.type, types), [argument.ir])
            new = [
                self.select(mask, Value(self, value.type, self.builder.extract_value(together, index)), value)
                for index, value in enumerate(values)
            ]
            inside = self.builder.block
        results: list[Value] = []
        for value, right in zip(values, new, strict=True):
            phi = self.builder.phi(value.ir.type)
            phi.add_incoming(value.ir, before)
            phi.add_incoming(right.ir, inside)
            results.append(Value(self, value.type, phi))
        return tuple(results)

    def _cold_function(
        self, compute: Callable[["Emitter", Value], tuple[Value, ...]], kind: SimdType, results: list[Any]
    ) -> Any:
        """Return the module's function that computes this; it is never inlined."""
        module, name = self.builder.module, f"{compute.__name__}_{kind}"
        if name not in module.globals:
            result = self.ir.LiteralStructType(results)
            function = self.ir.Function(module, self.ir.FunctionType(result, [self.llvm_type(kind)]), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            function.attributes.add("cold")
            inner = Emitter(self.ir.IRBuilder(function.append_basic_block()), self.level)
            together = self.ir.Constant(result, self.ir.Undefined)
            for index, value in enumerate(compute(inner, Value(inner, kind, function.args[0]))):
                together = inner.builder.insert_value(together, value.ir, index)
            inner.builder.ret(together)
        return module.globals[name]

    # Operations that are not operators

    def suffix(self, kind: SimdType) -> str:
        element = kind.kind if kind.is_float else f"i{kind.bits}"
        return element if kind.lanes == 1 else f"v{kind.lanes}{element}"

    def declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        module = self.builder.module
        return module.globals.get(name) or self.ir.Function(module, self.ir.FunctionType(result, arguments), name)

    def intrinsic(self, name: str, result: SimdType, *arguments: Value) -> Value:
        function = self.declare(name, self.llvm_type(result), [one.ir.type for one in arguments])
        return Value(self, result, self.builder.call(function, [one.ir for one in arguments]))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        if not self.level.fma:
            return a * b + c  # the intrinsic would call fmaf once a lane
        return self.intrinsic(f"llvm.fma.{self.suffix(a.type)}", a.type, a, b, c)

    def sqrt(self, x: Value) -> Value:
        return self.intrinsic(f"llvm.sqrt.{self.suffix(x.type)}", x.type, x)

    def absolute(self, x: Value) -> Value:
        return self.intrinsic(f"llvm.fabs.{self.suffix(x.type)}", x.type, x)

    def floor(self, x: Value) -> Value:
        return self._whole("floor", x)

    def ceil(self, x: Value) -> Value:
        return self._whole("ceil", x)

    def trunc(self, x: Value) -> Value:
        return self._whole("trunc", x)

    def round(self, x: Value) -> Value:
        """Round to the nearest integer, halves to the even one."""
        return self._whole("roundeven", x)

    def _whole(self, name: str, x: Value) -> Value:
        if self.level.fma:
            return self.intrinsic(f"llvm.{name}.{self.suffix(x.type)}", x.type, x)
        # Without SSE4.1 the intrinsic would call libm once a lane. Adding and taking away 2^23 (2^52) rounds |x|.
        size = self.absolute(x)
        edge = self.constant(x.type, 2.0**23 if x.type.kind == "f32" else 2.0**52)
        one, zero = self.constant(x.type, 1.0), self.constant(x.type, 0.0)
        near = (size + edge) - edge
        signed = self.copysign(near, x)
        result = {
            "roundeven": lambda: near,
            "trunc": lambda: near - self.select(near > size, one, zero),
            "floor": lambda: signed - self.select(signed > x, one, zero),
            "ceil": lambda: signed + self.select(signed < x, one, zero),
        }[name]()
        return self.select(size < edge, self.copysign(result, x), x)

    def scale(self, x: Value, k: Value) -> Value | None:
        """Return x * 2^k for an integer k, rounded once, where the CPU has an instruction for it; else None."""
        width = x.type.lanes * x.type.bits
        if self.level.register_bits < 512 or width % 512:
            return None
        part = x.type.wide(512 // x.type.bits)
        letter = "s" if x.type.kind == "f32" else "d"
        mask = self.ir.IntType(part.lanes)
        everywhere, nearest = self.ir.Constant(mask, -1), self.ir.Constant(self.ir.IntType(32), 4)
        llvm = self.llvm_type(part)
        function = self.declare(
            f"llvm.x86.avx512.mask.scalef.p{letter}.512", llvm, [llvm, llvm, llvm, mask, nearest.type]
        )
        halves: list[Value] = []
        for start in range(0, x.type.lanes, part.lanes):
            indexes = list(range(start, start + part.lanes))
            one, power = ((y if y.type == part else self.lanes(y, indexes)).ir for y in (x, k))
            halves.append(Value(self, part, self.builder.call(function, [one, power, one, everywhere, nearest])))
        if len(halves) == 1:
            return halves[0]
        order = self.ir.Constant(self.ir.VectorType(self.ir.IntType(32), x.type.lanes), list(range(x.type.lanes)))
        return Value(self, x.type, self.builder.shuffle_vector(halves[0].ir, halves[1].ir, order))

    def copysign(self, x: Value, sign: Value) -> Value:
        return self.intrinsic(f"llvm.copysign.{self.suffix(x.type)}", x.type, x, sign)

    def select(self, mask: Value, a: Value, b: Value) -> Value:
        return Value(self, a.type, self.builder.select(mask.ir, a.ir, b.ir))

    def quotient(self, a: Value, b: Value) -> Value:
        """Return the truncated integer quotient; b is not zero and the quotient does not overflow."""
        return Value(self, a.type, (self.builder.sdiv if a.type.is_signed else self.builder.udiv)(a.ir, b.ir))

    def fmod(self, a: Value, b: Value) -> Value:
        """C's fmod: exact, so a call of libm for every lane."""
        return Value(self, a.type, self.builder.frem(a.ir, b.ir))

    def shift_left(self, x: Value, count: Value) -> Value:
        """Return the count is less than the width."""
        return Value(self, x.type, self.builder.shl(x.ir, count.ir))

    def shift_right(self, x: Value, count: Value) -> Value:
        """Arithmetic for signed kinds, logical for unsigned ones; the count is less than the width."""
        return Value(self, x.type, (self.builder.ashr if x.type.is_signed else self.builder.lshr)(x.ir, count.ir))

    # Memory

    def pointer(self, address: Value, pointee: Any) -> Any:
        return self.builder.inttoptr(address.ir, pointee.as_pointer())

    def memory_type(self, kind: SimdType) -> Any:
        """Return the LLVM type in memory, where a boolean is a byte."""
        return self.llvm_type(kind.of("u8") if kind.kind == "b" else kind)

    def load(self, kind: SimdType, address: Value, mask: Value | None) -> Value:
        llvm = self.memory_type(kind)
        if mask is None:
            ir = self.builder.load(self.pointer(address, llvm), align=kind.itemsize)
        elif self.level.masks:
            ir = self._masked(
                "load", kind, llvm, [self.pointer(address, llvm)], [mask.ir, self.ir.Constant(llvm, None)]
            )
        else:
            steps = self.ir.Constant(self.llvm_type(kind.of("i64")), [n * kind.itemsize for n in range(kind.lanes)])
            ir = self._each_lane(kind, self.splat(address, kind.lanes).ir, steps, mask)
        return self.convert(self._loaded(kind, ir), kind.kind)

    def gather(self, kind: SimdType, base: Value, offsets: Value, mask: Value) -> Value:
        llvm = self.memory_type(kind)
        if self.level.masks:
            addresses = self.splat(base, kind.lanes) + offsets
            pointers = self.builder.inttoptr(addresses.ir, self.ir.VectorType(llvm.element.as_pointer(), kind.lanes))
            ir = self._masked("gather", kind, llvm, [pointers], [mask.ir, self.ir.Constant(llvm, None)])
        else:
            ir = self._each_lane(kind, self.splat(base, kind.lanes).ir, offsets.ir, mask)
        return self.convert(self._loaded(kind, ir), kind.kind)

    def lookup(self, table: tuple[int, ...], index: Value) -> Value:
        """Return the numbers at these places of a table known at compile time; index is i64 and within it."""
        kind = index.type
        step = self.constant(kind, 8)
        start = SimdType("i64")
        address = Value(self, start, self.builder.ptrtoint(self._table(table), self.llvm_type(start)))
        if kind.lanes == 1:
            return self.load(kind, address + index * step, None)
        return self.gather(kind, address, index * step, self.constant(kind.of("b"), 1))

    def _table(self, numbers: tuple[int, ...]) -> Any:
        module, name = self.builder.module, f"table_{hash(numbers) & 0xFFFFFFFFFFFFFFFF:x}"
        if name not in module.globals:
            llvm = self.ir.ArrayType(self.ir.IntType(64), len(numbers))
            table = self.ir.GlobalVariable(module, llvm, name)
            table.linkage, table.global_constant = "internal", True
            table.initializer = self.ir.Constant(llvm, list(numbers))
        return module.globals[name]

    def _loaded(self, kind: SimdType, ir: Any) -> Value:
        return Value(self, kind.of("u8") if kind.kind == "b" else kind, ir)

    def _each_lane(self, kind: SimdType, base: Any, offsets: Any, mask: Value) -> Any:
        """Load the lanes one by one, inactive ones from a zero on the stack.

        CPUs without mask registers have masked loads for some types only, and LLVM 22 gets the others wrong: of a masked
        load wider than a register it reads the half whose mask it knows to be false. This has no branches, and reads
        nothing but what it should.
        """
        word = self.llvm_type(SimdType("i64"))
        with self.builder.goto_entry_block():
            zero = self.builder.alloca(word)
            self.builder.store(self.ir.Constant(word, 0), zero)
        nowhere = self.splat(Value(self, SimdType("i64"), self.builder.ptrtoint(zero, word)), kind.lanes).ir
        addresses = self.builder.select(mask.ir, self.builder.add(base, offsets), nowhere)
        llvm = self.memory_type(kind)
        result = self.ir.Constant(llvm, self.ir.Undefined)
        for lane in range(kind.lanes):
            index = self.ir.Constant(self.ir.IntType(32), lane)
            pointer = self.builder.inttoptr(self.builder.extract_element(addresses, index), llvm.element.as_pointer())
            result = self.builder.insert_element(result, self.builder.load(pointer, align=kind.itemsize), index)
        return result

    def store(self, x: Value, address: Value, mask: Value | None) -> None:
        kind = x.type
        x = self.widen_bits(x)
        pointer = self.pointer(address, x.ir.type)
        if mask is None:
            self.builder.store(x.ir, pointer, align=kind.itemsize)
        else:
            self._masked("store", kind, self.ir.VoidType(), [x.ir, pointer], [mask.ir])

    def prefetch(self, address: Value) -> None:
        """Ask for the cache line of an address, which may lie outside of all arrays."""
        byte, word = self.ir.IntType(8), self.ir.IntType(32)
        arguments = [self.pointer(address, byte), word(0), word(3), word(1)]  # to read, keep it, data
        self.builder.call(self.declare("llvm.prefetch.p0", self.ir.VoidType(), [a.type for a in arguments]), arguments)

    def widen_bits(self, x: Value) -> Value:
        """Booleans as bytes, anything else unchanged."""
        return self.convert(x, "u8") if x.type.kind == "b" else x

    def _masked(self, name: str, kind: SimdType, result: Any, before: list[Any], after: list[Any]) -> Any:
        stored = self.suffix(kind.of("u8") if kind.kind == "b" else kind)
        full = f"llvm.masked.{name}.{stored}." + (f"v{kind.lanes}p0" if name == "gather" else "p0")
        align = self.ir.Constant(self.ir.IntType(32), kind.itemsize)
        arguments = [*before, align, *after]
        return self.builder.call(self.declare(full, result, [one.type for one in arguments]), arguments)
