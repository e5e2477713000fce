"""The dialect's arithmetic on LLVM values: the half of a formula's two meanings that becomes machine code.

`Arithmetic` and `graphc.simd.arrays.Arrays` have the same methods, and `Value` the same operators as a NumPy array, so
that a formula written once (`graphc.simd.formulas`, `graphc.simd.philox`) runs on both. Neither emits fast-math
flags: a NaN stays a NaN, and no multiply and add is fused that the formula did not fuse, so both give the same bits.
"""

import functools
import operator
import struct
from collections.abc import Callable, Sequence

from graphc.simd.kinds import I64, SimdType
from graphc.simd.levels import Level
from graphc.simd.listing import VOID, Function, phi

_SIGNS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_MEANINGS: dict[str, Callable[[float, float], bool]] = {sign: getattr(operator, name) for sign, name in _SIGNS.items()}


class Value:
    """An LLVM value with its dialect type and the operators of the dialect.

    `number` is what it is at compile time, if that is known; `origin` a value and the number by which it is larger; `each`
    the scalar that all lanes are, if one is known; `run` how many of a mask's lanes are set, the first ones, if that is.
    """

    __slots__ = ("each", "emitter", "ir", "number", "origin", "run", "type")

    def __init__(
        self,
        emitter: "Arithmetic",
        kind: SimdType,
        ir: str,
        number: float | None = None,
        origin: "tuple[Value, int] | None" = None,
    ):
        self.emitter = emitter
        self.type = kind
        self.ir = ir
        self.number = number
        self.origin = origin
        self.each: Value | None = None
        self.run: int | None = None

    @property
    def typed(self) -> str:
        """The value with its LLVM type, as an argument stands."""
        return f"{self.type.llvm} {self.ir}"

    def _binary(self, other: "Value", instruction: str) -> "Value":
        made = self.emitter.function.value(f"{instruction} {self.type.llvm} {self.ir}, {other.ir}")
        return Value(self.emitter, self.type, made)

    def __add__(self, other: "Value") -> "Value":
        if self.type.is_float:
            return self._binary(other, "fadd")
        if self.number is not None:
            return other._moved(int(self.number))
        return self._linear(other, "add", 1)

    def __sub__(self, other: "Value") -> "Value":
        if self.type.is_float:
            return self._binary(other, "fsub")
        return self._linear(other, "sub", -1)

    def _linear(self, other: "Value", instruction: str, sign: int) -> "Value":
        """Return a sum or difference of integers; known numbers are put together, so that what differs by one shares the rest."""
        if other.number is not None:
            return self._moved(sign * int(other.number))
        (start, before), (step, more) = self.origin or (self, 0), other.origin or (other, 0)
        return start._binary(step, instruction)._moved(before + sign * more)

    def _moved(self, distance: int) -> "Value":
        """Return an integer scalar that is larger by a known number."""
        if self.number is not None:
            return self.emitter.constant(self.type, self.number + distance)
        if distance == 0:
            return self
        start, before = self.origin or (self, 0)
        distance += before
        if distance == 0:
            return start
        made = self.emitter.function.value(f"add {start.typed}, {self.emitter.constant(self.type, distance).ir}")
        return Value(self.emitter, self.type, made, origin=(start, distance))

    def __mul__(self, other: "Value") -> "Value":
        if self.type.is_float:
            return self._binary(other, "fmul")
        if self.number is not None and other.number is not None:
            return self.emitter.constant(self.type, self.number * other.number)
        for one, factor in ((self, other), (other, self)):
            if factor.number in (0, 1):
                return one if factor.number else factor
            if factor.number is not None and one.origin is not None:
                start, distance = one.origin
                return start._binary(factor, "mul")._moved(distance * int(factor.number))
        return self._binary(other, "mul")

    def __truediv__(self, other: "Value") -> "Value":
        return self._binary(other, "fdiv")

    def __and__(self, other: "Value") -> "Value":
        return self._decided(other, False) or self._binary(other, "and")

    def __or__(self, other: "Value") -> "Value":
        return self._decided(other, True) or self._binary(other, "or")

    def _decided(self, other: "Value", by: bool) -> "Value | None":
        """Return what a conjunction (by False) or disjunction (by True) is, one side of which is a known boolean."""
        if self.type.kind == "b":
            for one, number in ((self, other.number), (other, self.number)):
                if number is not None:
                    return self.emitter.constant(self.type, by) if number == by else one
        return None

    def __xor__(self, other: "Value") -> "Value":
        return self._binary(other, "xor")

    def __neg__(self) -> "Value":
        if self.type.is_float:
            return Value(self.emitter, self.type, self.emitter.function.value(f"fneg {self.typed}"))
        return self.emitter.constant(self.type, 0) - self

    def __invert__(self) -> "Value":
        return self ^ self.emitter.constant(self.type, 1 if self.type.kind == "b" else -1)

    def _compare(self, other: "Value", sign: str) -> "Value":
        if self.number is not None and other.number is not None:
            return self.emitter.constant(self.type.of("b"), _MEANINGS[sign](self.number, other.number))
        name = _SIGNS[sign]
        if self.type.is_float:
            # Only "not equal" is true of a NaN.
            compare = "fcmp u" if sign == "!=" else "fcmp o"
        elif sign in ("==", "!="):
            compare = "icmp "
        else:
            compare = "icmp s" if self.type.is_signed else "icmp u"
        return Value(
            self.emitter, self.type.of("b"), self.emitter.function.value(f"{compare}{name} {self.typed}, {other.ir}")
        )

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


def _exact(number: float, kind: SimdType) -> float:
    """Return the number of this kind that a number becomes; integers wrap."""
    if kind.kind == "f32":
        try:
            return struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            return float("inf") if number > 0 else float("-inf")
    if kind.kind == "f64":
        return float(number)
    if kind.kind == "b":
        return bool(number)
    wrapped = int(number) & ((1 << kind.bits) - 1)
    return wrapped - (1 << kind.bits) if kind.is_signed and wrapped >> (kind.bits - 1) else wrapped


def _number_text(number: float, kind: SimdType) -> str:
    if kind.kind == "b":
        return "true" if number else "false"
    exact = _exact(number, kind)
    return f"0x{struct.unpack('>Q', struct.pack('>d', exact))[0]:016X}" if kind.is_float else str(exact)


@functools.lru_cache(4096)
def _vector_text(kind: SimdType, text: str, numbers: tuple[float, ...]) -> str:
    """Return a vector of one number or of as many as lanes."""
    element = kind.wide(1)
    if len(numbers) == 1:
        return f"splat ({element.llvm} {_number_text(numbers[0], element)})"
    return f"<{', '.join(f'{element.llvm} {_number_text(one, element)}' for one in numbers)}>"


class Arithmetic:
    """Appends LLVM instructions to a function, for one CPU level."""

    def __init__(self, function: Function, level: Level):
        self.function = function
        self.level = level
        self._words: dict[int, Value] = {}

    @property
    def has_fma(self) -> bool:
        return self.level.fma

    # Constants and lanes

    def type_of(self, x: Value) -> SimdType:
        return x.type

    def constant(self, kind: SimdType, number: float | list[int]) -> Value:
        """Return a scalar, a splat, or (from a list) a vector known at compile time."""
        if isinstance(number, list):
            return Value(self, kind, _vector_text(kind, repr(number), tuple(number)))
        if kind is I64 and number.__class__ is int:
            return self._word(int(number))
        if kind.lanes == 1:
            exact = _exact(number, kind)
            return Value(self, kind, _number_text(exact, kind), exact)
        # By its text, because 0.0 and -0.0 are equal.
        return Value(self, kind, _vector_text(kind, repr(number), (number,)))

    def _word(self, number: int) -> Value:
        """Return a known i64: half of all constants are one of a few."""
        found = self._words.get(number)
        if found is None:
            exact = _exact(number, I64)
            found = self._words[number] = Value(self, I64, _number_text(exact, I64), exact)
        return found

    def known(self, x: Value) -> int | None:
        """Return the integer that x is at compile time, if it is one."""
        return int(x.number) if x.number is not None and x.type.is_integer else None

    def with_run(self, mask: Value, count: Value) -> Value:
        """Return a mask of so many lanes, the first ones, which says so if the number is known."""
        number = self.known(count)
        mask.run = None if number is None else min(max(number, 0), mask.type.lanes)
        return mask

    def splat(self, x: Value, lanes: int) -> Value:
        kind = x.type.wide(lanes)
        if x.number is not None:
            return self.constant(kind, x.number)
        first = self.function.value(f"insertelement {kind.llvm} poison, {x.typed}, i32 0")
        result = self._shuffled(Value(self, kind, first), "poison", [0] * lanes)
        result.each = x
        return result

    def lanes(self, x: Value, indexes: list[int]) -> Value:
        """Return the vector (or scalar, of one index) of the lanes with these numbers."""
        if len(indexes) == 1:
            return Value(self, x.type.wide(1), self.function.value(f"extractelement {x.typed}, i32 {indexes[0]}"))
        return self._shuffled(x, "poison", indexes)

    def pick(self, a: Value, b: Value, indexes: list[int]) -> Value:
        """Return the lanes of two vectors at these places, those of the second after those of the first."""
        return self._shuffled(a, b.ir, indexes)

    def _shuffled(self, a: Value, b: str, indexes: Sequence[int]) -> Value:
        kind = SimdType("i32", len(indexes))
        order = _vector_text(kind, repr(indexes), tuple(indexes))
        made = self.function.value(f"shufflevector {a.typed}, {a.type.llvm} {b}, {kind.llvm} {order}")
        return Value(self, a.type.wide(len(indexes)), made)

    def lane(self, x: Value, index: Value) -> Value:
        return Value(self, x.type.wide(1), self.function.value(f"extractelement {x.typed}, {index.typed}"))

    # Conversions

    def convert(self, x: Value, kind: str) -> Value:
        """Convert to another kind: float to integer truncates and saturates (NaN to 0), integers wrap, b is x != 0."""
        source, target = x.type, x.type.of(kind)
        if source == target:
            return x
        if kind == "b":
            return x != self.constant(source, 0)
        if x.number is not None and target.is_float and abs(x.number) <= 2**53:
            return self.constant(target, float(x.number))
        if source.is_float and not target.is_float:
            return self._truncate(x, target)
        if source.is_float:
            instruction = "fpext" if target.bits > source.bits else "fptrunc"
        elif target.is_float:
            instruction = "sitofp" if source.is_signed else "uitofp"
        elif target.bits < source.bits:
            instruction = "trunc"
        elif target.bits > source.bits:
            instruction = "sext" if source.is_signed else "zext"
        else:
            return Value(self, target, x.ir, None if x.number is None else _exact(x.number, target))  # no signs in LLVM
        return self._cast(instruction, x, target)

    def _cast(self, instruction: str, x: Value, target: SimdType) -> Value:
        return Value(self, target, self.function.value(f"{instruction} {x.typed} to {target.llvm}"))

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
        result = self._cast("fptosi" if target.is_signed else "fptoui", inside, target)
        result = self.select(above, self.constant(target, highest), result)
        return self.select(below, self.constant(target, lowest), result) if target.is_signed else result

    def bits(self, x: Value, kind: str) -> Value:
        """Return the same bits read as another kind of the same width."""
        return self._cast("bitcast", x, x.type.of(kind))

    # Masks as a whole

    def _mask_bits(self, mask: Value) -> tuple[str, str]:
        """Return the bits of a mask as one integer: its LLVM type, and its name."""
        llvm = f"i{mask.type.lanes}"
        return llvm, self.function.value(f"bitcast {mask.typed} to {llvm}")

    def any_lane(self, mask: Value) -> Value:
        """Whether any lane of a mask is set: one comparison, where a tree would shuffle single bits."""
        llvm, bits = self._mask_bits(mask)
        return Value(self, mask.type.wide(1), self.function.value(f"icmp ne {llvm} {bits}, 0"))

    def first_lane(self, x: Value, mask: Value) -> Value:
        """Return the first lane of x whose mask is set (one is)."""
        llvm, bits = self._mask_bits(mask)
        index = self.call(f"llvm.cttz.{llvm}", llvm, (llvm, bits), ("i1", "true"))
        return Value(self, x.type.wide(1), self.function.value(f"extractelement {x.typed}, {llvm} {index}"))

    def corrected(
        self,
        mask: Value,
        values: tuple[Value, ...],
        compute: Callable[["Arithmetic", Value], tuple[Value, ...]],
        argument: Value,
    ) -> tuple[Value, ...]:
        """Return the values, where the mask is set those that `compute` gives; it only runs if any lane is set.

        It is a function of its own: inside a loop its many constants would be made before it and crowd the registers.
        """
        function = self.function
        any_lane = mask if mask.type.lanes == 1 else self.any_lane(mask)
        before = function.block
        with function.when(any_lane.ir, seldom=True):
            llvm = "{" + ", ".join(value.type.llvm for value in values) + "}"
            name = self._cold_function(compute, argument.type, llvm)
            together = function.make(f"call {llvm} @{name}({argument.typed})")
            parts = [function.make(f"extractvalue {llvm} {together}, {index}") for index in range(len(values))]
            new = [self.select(mask, Value(self, v.type, p), v) for v, p in zip(values, parts, strict=True)]
            inside = function.block
        sources = [[(v.ir, before), (n.ir, inside)] for v, n in zip(values, new, strict=True)]
        return tuple(
            Value(self, v.type, function.make(phi(v.type.llvm, s))) for v, s in zip(values, sources, strict=True)
        )

    def _cold_function(
        self, compute: Callable[["Arithmetic", Value], tuple[Value, ...]], kind: SimdType, llvm: str
    ) -> str:
        """Return the name of the module's function that computes this; it is never inlined."""
        module, name = self.function.module, f"{compute.__name__}_{kind}"
        if all(name != one.name for one in module.functions):
            function = Function(module, name, f"internal {llvm} @{name}({kind.llvm} %x) noinline cold")
            together = "poison"
            for index, value in enumerate(compute(inner := type(self)(function, self.level), Value(inner, kind, "%x"))):
                together = function.make(f"insertvalue {llvm} {together}, {value.typed}, {index}")
            function.do(f"ret {llvm} {together}")
        return name

    # Operations that are not operators

    def suffix(self, kind: SimdType) -> str:
        """Return how intrinsics name a type."""
        element = kind.kind if kind.is_float else f"i{kind.bits}"
        return element if kind.lanes == 1 else f"v{kind.lanes}{element}"

    def call(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """Call a function from outside with operands and their LLVM types; return the name of the result."""
        text = self._called(name, result, arguments)
        if result != VOID:
            return self.function.make(text)
        self.function.do(text)
        return ""

    def _called(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        called = self.function.module.declare(name, result, [llvm for llvm, _ in arguments])
        return f"call {result} {called}({', '.join([f'{llvm} {operand}' for llvm, operand in arguments])})"

    def intrinsic(self, name: str, *arguments: Value) -> Value:
        """Call an intrinsic for the type of its arguments, which is the result's; it touches no memory."""
        kind = arguments[0].type
        full = f"llvm.{name}.{self.suffix(kind)}"
        return Value(
            self, kind, self.function.value(self._called(full, kind.llvm, [(kind.llvm, x.ir) for x in arguments]))
        )

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        if not self.level.fma:
            return a * b + c  # the intrinsic would call fmaf once a lane
        return self.intrinsic("fma", a, b, c)

    def sqrt(self, x: Value) -> Value:
        return self.intrinsic("sqrt", x)

    def absolute(self, x: Value) -> Value:
        return self.intrinsic("fabs", x)

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
            return self.intrinsic(name, x)
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

    def instruction(self, name: str, *operands: Value | int) -> Value | None:
        """Call an instruction of AVX-512, unmasked, for each register of the operands (numbers are 32 bits of the code).

        The result has the first operand's type. None where the CPU has no such registers, or they are not full.
        """
        first, *_ = (x for x in operands if isinstance(x, Value))
        if self.level.register_bits < 512 or first.type.lanes * first.type.bits % 512:
            return None
        part = first.type.wide(512 // first.type.bits)
        is_estimate = name.endswith("14")  # an estimate to 14 bits is not rounded
        prefix = "llvm.x86.avx512." if is_estimate else "llvm.x86.avx512.mask."
        full = f"{prefix}{name}.p{'s' if first.type.kind == 'f32' else 'd'}.512"
        ending = [(f"i{part.lanes}", "-1"), *([] if is_estimate else [("i32", "4")])]  # everywhere, to the nearest
        pieces: list[Value] = []
        for start in range(0, first.type.lanes, part.lanes):
            indexes = list(range(start, start + part.lanes))
            arguments: list[tuple[str, str]] = []
            for x in operands:
                if isinstance(x, Value):
                    piece = x if x.type.lanes == part.lanes else self.lanes(x, indexes)
                    arguments.append((piece.type.llvm, piece.ir))
                else:
                    arguments.append(("i32", str(x)))
            pieces.append(Value(self, part, self.call(full, part.llvm, *arguments, *ending)))
        return pieces[0] if len(pieces) == 1 else self.pick(pieces[0], pieces[1], list(range(first.type.lanes)))

    def copysign(self, x: Value, sign: Value) -> Value:
        return self.intrinsic("copysign", x, sign)

    def select(self, mask: Value, a: Value, b: Value) -> Value:
        if mask.number is not None:
            return a if mask.number else b
        return Value(self, a.type, self.function.value(f"select {mask.typed}, {a.typed}, {b.typed}"))

    def quotient(self, a: Value, b: Value) -> Value:
        """Return the truncated integer quotient; b is not zero and the quotient does not overflow."""
        return self._operation("sdiv" if a.type.is_signed else "udiv", a, b)

    def fmod(self, a: Value, b: Value) -> Value:
        """C's fmod: exact, so a call of libm for every lane."""
        return self._operation("frem", a, b)

    def shift_left(self, x: Value, count: Value) -> Value:
        """Return the count is less than the width."""
        return self._operation("shl", x, count)

    def shift_right(self, x: Value, count: Value) -> Value:
        """Arithmetic for signed kinds, logical for unsigned ones; the count is less than the width."""
        return self._operation("ashr" if x.type.is_signed else "lshr", x, count)

    def _operation(self, instruction: str, a: Value, b: Value) -> Value:
        return Value(self, a.type, self.function.value(f"{instruction} {a.typed}, {b.ir}"))
