"""The emitter that builders get: arithmetic on LLVM values, and loads and stores."""

from collections.abc import Iterator

from graphc.simd.arithmetic import Arithmetic, Value
from graphc.simd.kinds import I64, SimdType
from graphc.simd.listing import POINTER, VOID, WORD

# The instructions of AVX2 that load or store by a mask of words.
_MASKED = {
    "float": "avx.mask{}.ps.256",
    "double": "avx.mask{}.pd.256",
    "i32": "avx2.mask{}.d.256",
    "i64": "avx2.mask{}.q.256",
}


def _powers(count: int) -> Iterator[tuple[int, int]]:
    """Yield pieces of powers of two that make up so many: where each begins, and its length, the longest first."""
    first = 0
    while first < count:
        length = 1 << ((count - first).bit_length() - 1)
        yield first, length
        first += length


class Emitter(Arithmetic):
    """Appends LLVM instructions to a function, for one CPU level; addresses are i64."""

    def pointer(self, address: Value) -> str:
        """Return an address as LLVM's pointer: from that of its origin, if it has one, so that loads share it."""
        start, distance = address.origin or (address, 0)
        pointer = self.function.value(f"inttoptr {start.typed} to {POINTER}")
        return self.function.value(f"getelementptr i8, {POINTER} {pointer}, {WORD} {distance}") if distance else pointer

    def load(self, kind: SimdType, address: Value, mask: Value | None) -> Value:
        stored = kind.stored
        if mask is None:
            ir = self.function.make(f"load {stored.llvm}, {POINTER} {self.pointer(address)}, align {kind.itemsize}")
        elif self.level.masks:
            places = (POINTER, self.pointer(address))
            ir = self._masked("load", kind, stored.llvm, [places], [mask, self.constant(stored, 0)])
        elif mask.run is not None:
            ir = self._load_run(stored, address, mask.run)
        elif mask.each is not None:
            # All lanes or none: one load, from zeros if none.
            zeros = self.function.zeros(stored.llvm)
            elsewhere = Value(self, address.type, self.function.value(f"ptrtoint {POINTER} {zeros} to {WORD}"))
            place = self.pointer(self.select(mask.each, address, elsewhere))
            ir = self.function.make(f"load {stored.llvm}, {POINTER} {place}, align {kind.itemsize}")
        elif self._has_words and stored.bits >= 32:
            ir = self._load_registers(stored, address, mask)
        else:
            steps = self.constant(kind.of("i64"), [n * kind.itemsize for n in range(kind.lanes)])
            ir = self._each_lane(kind, self.splat(address, kind.lanes) + steps, mask)
        return self.convert(Value(self, stored, ir), kind.kind)

    def gather(self, kind: SimdType, base: Value, offsets: Value, mask: Value) -> Value:
        stored = kind.stored
        if self.level.masks:
            places = self._places(base, offsets)
            ir = self._masked("gather", kind, stored.llvm, [places], [mask, self.constant(stored, 0)])
        else:
            ir = self._each_lane(kind, self.splat(base, kind.lanes) + offsets, mask)
        return self.convert(Value(self, stored, ir), kind.kind)

    def scatter(self, x: Value, base: Value, offsets: Value, mask: Value) -> None:
        """Store each active lane at an offset of its own; where two are equal, the last lane's stays."""
        kind, x = x.type, self.convert(x, x.type.stored.kind)
        if self.level.masks:
            self._masked("scatter", kind, VOID, [(x.type.llvm, x.ir), self._places(base, offsets)], [mask])
            return
        # One by one, inactive lanes to a place on the stack: no branches, and nothing written but what should be.
        spare = Value(self, I64, self.function.value(f"ptrtoint {POINTER} {self.function.slot(WORD)} to {WORD}"))
        places = self.select(mask, self.splat(base, kind.lanes) + offsets, self.splat(spare, kind.lanes))
        for lane in range(kind.lanes):
            self.store(self.lanes(x, [lane]), self.lanes(places, [lane]), None)

    def _places(self, base: Value, offsets: Value) -> tuple[str, str]:
        """Return a vector of pointers, from one that all lanes share: the processor adds it itself."""
        kind = f"<{offsets.type.lanes} x {POINTER}>"
        return kind, self.function.value(f"getelementptr i8, {POINTER} {self.pointer(base)}, {offsets.typed}")

    def lookup(self, table: tuple[int, ...], index: Value) -> Value:
        """Return the numbers at these places of a table known at compile time; index is i64 and within it."""
        kind = index.type
        step = self.constant(kind, 8)
        name = self.function.module.table(table)
        address = Value(self, kind.wide(1), self.function.value(f"ptrtoint {POINTER} {name} to {WORD}"))
        if kind.lanes == 1:
            return self.load(kind, address + index * step, None)
        return self.gather(kind, address, index * step, self.constant(kind.of("b"), 1))

    def _each_lane(self, kind: SimdType, addresses: Value, mask: Value) -> str:
        """Load the lanes one by one, inactive ones from a zero on the stack: without branches, and nothing but what it should."""
        function, stored = self.function, kind.stored
        zero = function.slot(WORD, start="0")
        word = Value(self, SimdType("i64"), function.value(f"ptrtoint {POINTER} {zero} to {WORD}"))
        places = self.select(mask, addresses, self.splat(word, kind.lanes))
        result = "poison"
        for lane in range(kind.lanes):
            pointer = self.pointer(self.lanes(places, [lane]))
            element = stored.wide(1).llvm
            one = function.make(f"load {element}, {POINTER} {pointer}, align {kind.itemsize}")
            result = function.make(f"insertelement {stored.llvm} {result}, {element} {one}, i32 {lane}")
        return result

    def _load_run(self, stored: SimdType, address: Value, count: int) -> str:
        """Load so many lanes, known in number, by pieces of powers of two; the others are 0."""
        found = self.constant(stored, 0)
        for first, lanes in _powers(count):
            place = self.pointer(address + self.constant(I64, first * stored.itemsize))
            part = stored.wide(lanes)
            ir = self.function.make(f"load {part.llvm}, {POINTER} {place}, align {stored.itemsize}")
            piece = Value(self, part, ir)
            if lanes == stored.lanes:
                return ir
            if lanes == 1:
                made = f"insertelement {found.typed}, {piece.typed}, i32 {first}"
                found = Value(self, stored, self.function.value(made))
                continue
            wide = self.lanes(piece, [min(n, lanes - 1) for n in range(stored.lanes)])
            places = [stored.lanes + n - first if first <= n < first + lanes else n for n in range(stored.lanes)]
            found = self.pick(found, wide, places)
        return found.ir

    def _load_registers(self, stored: SimdType, address: Value, mask: Value) -> str:
        """Load a register at a time, by an instruction that has a mask."""
        parts: list[Value] = []
        for place, words in self._registers(stored, address, mask):
            part = stored.wide(self.level.register_bits // stored.bits)
            name, own = f"llvm.x86.{_MASKED[stored.wide(1).llvm]}".format("load"), f"<{part.lanes} x i{stored.bits}>"
            parts.append(Value(self, part, self.call(name, part.llvm, (POINTER, place), (own, words))))
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [self.pick(low, high, list(range(2 * low.type.lanes))) for low, high in pairs]
        return parts[0].ir

    def _store_registers(self, x: Value, address: Value, mask: Value) -> None:
        kind, count = x.type, self.level.register_bits // x.type.bits
        for number, (place, words) in enumerate(self._registers(kind, address, mask)):
            lanes = list(range(number * count, (number + 1) * count))
            part = x if count == kind.lanes else self.lanes(x, lanes)
            name, own = f"llvm.x86.{_MASKED[kind.wide(1).llvm]}".format("store"), f"<{count} x i{kind.bits}>"
            self.call(name, VOID, (POINTER, place), (own, words), (part.type.llvm, part.ir))

    def _registers(self, kind: SimdType, address: Value, mask: Value) -> Iterator[tuple[str, str]]:
        """Yield, for each register of a vector, its pointer, and its mask as words."""
        nbytes = self.level.register_bits // 8
        for number, words in enumerate(self.words_of(mask, kind.bits)):
            yield self.pointer(address + self.constant(I64, number * nbytes) if number else address), words

    def words_of(self, mask: Value, bits: int) -> list[str]:
        """Return a mask as words of so many bits, all ones or zeros, a register each.

        They are made where the mask gets its name, so outside of loops in which it is used. LLVM must not see that they come
        from booleans: it would make those of them again at each use, and where it knows all of a mask to be false, LLVM 22
        reads as if it were true.
        """
        lanes, count = mask.type.lanes, self.level.register_bits // bits
        wide = SimdType(f"i{bits}", lanes)
        every = Value(self, wide, self.function.value(f"sext {mask.typed} to {wide.llvm}"))
        found: list[str] = []
        for first in range(0, lanes, count):
            part = every if count == lanes else self.lanes(every, list(range(first, first + count)))
            opaque = f'call {part.type.llvm} asm "", "=x,0"({part.typed}) nounwind willreturn memory(none)'
            found.append(self.function.value(opaque))
        return found

    def named(self, x: Value) -> None:
        """Note that a value gets a name: of a mask, what loads and stores need is made here."""
        if self._has_words and x.type.kind == "b" and x.type.lanes > 1 and x.each is None:
            for bits in (32, 64):
                if x.type.lanes * bits >= self.level.register_bits:
                    self.words_of(x, bits)

    @property
    def _has_words(self) -> bool:
        return self.level.masked_words and not self.level.masks

    def store(self, x: Value, address: Value, mask: Value | None) -> None:
        kind = x.type
        x = self.convert(x, kind.stored.kind)
        pointer = self.pointer(address)
        if mask is None:
            self.function.do(f"store {x.typed}, {POINTER} {pointer}, align {kind.itemsize}")
        elif mask.run is not None and not self.level.masks:
            for first, count in _powers(mask.run):
                part = x if count == kind.lanes else self.lanes(x, list(range(first, first + count)))
                self.store(part, address + self.constant(I64, first * kind.itemsize), None)
        elif self._has_words and x.type.bits >= 32:
            self._store_registers(x, address, mask)
        else:
            self._masked("store", kind, VOID, [(x.type.llvm, x.ir), (POINTER, pointer)], [mask])

    def prefetch(self, address: Value, purpose: str = "read") -> None:
        """Ask for the cache line of an address, which may lie outside of all arrays."""
        number = ("read", "write").index(purpose)
        kept = [("i32", str(n)) for n in (number, 3, 1)]  # what for, keep it, data
        self.call("llvm.prefetch.p0", VOID, (POINTER, self.pointer(address)), *kept)

    def _masked(self, name: str, kind: SimdType, result: str, before: list[tuple[str, str]], after: list[Value]) -> str:
        pointers = f"v{kind.lanes}p0" if name in ("gather", "scatter") else "p0"
        align = ("i32", str(kind.itemsize))
        rest = [(one.type.llvm, one.ir) for one in after]
        return self.call(f"llvm.masked.{name}.{self.suffix(kind.stored)}.{pointers}", result, *before, align, *rest)
