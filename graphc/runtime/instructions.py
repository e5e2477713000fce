"""The instruction set of a bound plan: rows of four int64 words that the native walk reads.

    CALL     function, row            all threads run the kernel, each a share of its units
    CALL_ONE function, row            thread 0 runs it alone
    BARRIER                           all threads wait for each other
    COMMIT                            a barrier; the run ends if the status block holds an error
    SLICE                             a barrier; the run ends, or pauses where its time slice is over
    LOOP     counter, count, target   starts a loop; count 0 goes to target
    END      counter, target          goes back to target while iterations are left
    ADD      word, amount
    MOVE     word, source, offset     word = source word + offset
    LOAD     word, external, offset   word = entry of the table of external addresses + offset
    BRANCH   word, target             goes to target if the byte addressed by the word is 0
    JUMP     target
    HALT

Words, rows and counters are byte offsets into the thread's own frame, so threads share nothing but buffers. Targets are
instruction numbers. Every thread passes the same instructions: only kernels ask which thread they are. So frames are
equal at every pause, and a run may be resumed by another number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

WIDTH = 4


class Opcode(IntEnum):
    """What an instruction does. The walk compares: BARRIER < COMMIT < SLICE are the three that synchronise."""

    CALL = 0
    CALL_ONE = 1
    BARRIER = 2
    COMMIT = 3
    SLICE = 4
    LOOP = 5
    END = 6
    ADD = 7
    MOVE = 8
    LOAD = 9
    BRANCH = 10
    JUMP = 11
    HALT = 12


class Assembler:
    """Collects instructions; `here` is the number of the next one."""

    def __init__(self) -> None:
        self.words: list[int] = []

    @property
    def here(self) -> int:
        """The number of the instruction that is emitted next."""
        return len(self.words) // WIDTH

    def emit(self, opcode: Opcode, *operands: int) -> int:
        """Append one instruction and return its number."""
        number = self.here
        self.words += [int(opcode), *operands, *(0,) * (WIDTH - 1 - len(operands))]
        return number

    def aim(self, number: int) -> None:
        """Make instruction `number`, a jump of any kind, go to the next instruction."""
        place = {Opcode.LOOP: 3, Opcode.BRANCH: 2, Opcode.JUMP: 1}[Opcode(self.words[number * WIDTH])]
        self.words[number * WIDTH + place] = self.here


def listing(words: Sequence[int], names: dict[int, str] | None = None) -> str:
    """Return the table as text, one instruction a line; `names` gives kernels by their address."""
    lines: list[str] = []
    for start in range(0, len(words), WIDTH):
        opcode, *operands = (int(word) for word in words[start : start + WIDTH])
        texts = [str(operand) for operand in operands]
        if opcode <= Opcode.CALL_ONE and names:
            texts[0] = names.get(operands[0], texts[0])
        lines.append(f"{start // WIDTH:4d} {Opcode(opcode).name:8s} {' '.join(texts)}")
    return "\n".join(lines)
