"""LLVM IR as text: the module and the function that is being written.

Text and not a tree of objects, because a kernel has ten instructions a line of source: writing a line of IR takes about a
microsecond, and LLVM reads it as fast as it is written. Values are numbered in order of appearance, which LLVM's parser
takes quickest; blocks and what stands in the entry block have names.
"""

import contextlib
from collections.abc import Generator, Sequence

POINTER, WORD, VOID = "ptr", "i64", "void"

# What branches are marked with that are seldom taken.
_UNLIKELY = '!0 = !{!"branch_weights", i32 1, i32 99}'
# Calls that LLVM makes itself (memset, fmod) go through the table of addresses that the loader's memory manager provides
# for, as nonlazybind makes the others do; for the stubs of a small code model's ordinary calls it would not, and ends the
# process.
_THROUGH_TABLE = '!1 = !{i32 7, !"RtLibUseGOT", i32 1}\n!llvm.module.flags = !{!1}'
# Loops of more lines are not unrolled: they gain nothing, and LLVM, whose own limit is of that order, runs through their turns in
# its head before it leaves most of them alone.
_LONG = 150
_NO_UNROLLING = '!3 = distinct !{!3, !4}\n!4 = !{!"llvm.loop.unroll.disable"}'


class Module:
    """What stands outside of functions, and the functions."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.functions: list[Function] = []

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> str:
        """Return what a function from outside is called, declaring it at its first use."""
        if name not in self.names:
            attribute = "" if name.startswith("llvm.") else " nonlazybind"
            self.names[name] = f"declare {result} @{name}({', '.join(arguments)}){attribute}"
        return f"@{name}"

    def table(self, numbers: tuple[int, ...]) -> str:
        """Return the name of a constant array of words."""
        name = f"table_{hash(numbers) & 0xFFFFFFFFFFFFFFFF:x}"
        elements = ", ".join(f"{WORD} {number}" for number in numbers)
        self.names[name] = f"@{name} = internal constant [{len(numbers)} x {WORD}] [{elements}]"
        return f"@{name}"

    def text(self, triple: str, layout: str, mark: str) -> str:
        """Return the module for a target; the object's comment section holds `mark`."""
        head = f'target triple = "{triple}"\ntarget datalayout = "{layout}"'
        ident = f'!2 = !{{!"{mark}"}}\n!llvm.ident = !{{!2}}'
        functions = [function.text() for function in self.functions]
        return (
            "\n".join([head, *self.names.values(), *functions, _UNLIKELY, _THROUGH_TABLE, ident, _NO_UNROLLING]) + "\n"
        )


class Function:
    """A function of a module and the block at whose end instructions are added."""

    def __init__(self, module: Module, name: str, head: str) -> None:
        """Begin a function; `head` is what stands between `define` and the body."""
        self.module, self.name, self.head = module, name, head
        self.slots: list[str] = []
        self.known_zeros: dict[str, str] = {}
        self.lines: list[str] = []
        self.count = self.labels = 0
        self.known: dict[str, str] = {}
        self.block = "entry"
        module.functions.append(self)

    def text(self) -> str:
        """Return the definition."""
        return "\n".join([f"define {self.head} nounwind {{", "entry:", *self.slots, *self.lines, "}"])

    def number(self) -> int:
        """Return the next value's number."""
        self.count += 1
        return self.count

    def make(self, instruction: str) -> str:
        """Add an instruction and return the name of its result."""
        self.count = number = self.count + 1
        self.lines.append(f"  %{number} = {instruction}")
        return f"%{number}"

    def value(self, instruction: str) -> str:
        """Return the result of an instruction that depends on its operands alone, adding it where it is not known yet."""
        found = self.known.get(instruction)
        if found is None:
            found = self.known[instruction] = self.make(instruction)
        return found

    @contextlib.contextmanager
    def inside(self) -> Generator[None]:
        """Forget afterwards which values are known: they are in blocks that may not have run."""
        before = len(self.known)
        yield
        for _ in range(len(self.known) - before):
            self.known.popitem()

    def do(self, instruction: str) -> None:
        """Add an instruction without a result."""
        self.lines.append("  " + instruction)

    def slot(self, llvm: str, count: int = 1, start: str = "") -> str:
        """Return the address of memory on the stack, the same at every turn of a loop, which may hold a start value."""
        name = f"%slot{len(self.slots)}"
        self.slots.append(f"  {name} = alloca {llvm}, i32 {count}")
        if start:
            self.slots.append(f"  store {llvm} {start}, {POINTER} {name}")
        return name

    def zeros(self, llvm: str) -> str:
        """Return the address of zeros of a type on the stack, the same for all who ask."""
        if llvm not in self.known_zeros:
            self.known_zeros[llvm] = self.slot(llvm, start="zeroinitializer")
        return self.known_zeros[llvm]

    def label(self, stem: str) -> str:
        """Return the name of a block that is still to be placed."""
        self.labels += 1
        return f"{stem}{self.labels}"

    def place(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def branch(self, label: str) -> None:
        """End the block by a jump."""
        self.do(f"br label %{label}")

    def repeat(self, label: str, count: int) -> None:
        """End a loop's last block, after so many lines since its beginning."""
        self.do(f"br label %{label}{', !llvm.loop !3' if count > _LONG else ''}")

    def choose(self, condition: str, then: str, otherwise: str, *, seldom: bool = False) -> None:
        """End the block by a jump to one of two."""
        weights = ", !prof !0" if seldom else ""
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}{weights}")

    @contextlib.contextmanager
    def when(self, condition: str, *, seldom: bool = False) -> Generator[None]:
        """Add what is made inside to a block that runs where the condition holds."""
        inside, after = self.label("when"), self.label("after")
        self.choose(condition, inside, after, seldom=seldom)
        self.place(inside)
        with self.inside():
            yield
        self.branch(after)
        self.place(after)


def phi(llvm: str, sources: Sequence[tuple[str, str]]) -> str:
    """Return the instruction for a value that is one of several, by the block from which this one was reached."""
    return f"phi {llvm} " + ", ".join([f"[{value}, %{block}]" for value, block in sources])
