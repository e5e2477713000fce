# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
"""The CPU levels that graphc emits code for, and the choice of one for this machine."""

from __future__ import annotations

import functools
import os
import platform
import sys

from graphc.records import record


@record
class Level:
    """A CPU level: what LLVM is told, and what the scheduler sizes its tiles by.

    `register_bits` and `registers` describe the vector registers. A level without `fma` also lacks a rounding
    instruction (both came to x86 after SSE2): there `fma` is a multiply and an add, and `floor` is arithmetic. `masks`: it
    has mask registers, and with them masked loads of every type; `masked_words`: it has masked loads of words of 32 and 64 bits.
    """

    name: str
    triple: str
    cpu: str
    features: str
    register_bits: int
    registers: int
    fma: bool
    masks: bool
    masked_words: bool

    @property
    def can_claim(self) -> bool:
        """Whether a line of the cache can be asked for to be written, which takes it from other cores."""
        return "+prfchw" in self.features or not self.triple.startswith("x86")


_X86 = "x86_64-unknown-linux-gnu"
_LEVELS = (
    # Without -prefer-256-bit LLVM would split 512-bit vectors on CPUs whose clocks once dropped under them.
    # Every CPU of that level has prefetches for writing, though the level does not name them.
    Level("x86-64-v4", _X86, "x86-64-v4", "-prefer-256-bit,+prfchw", 512, 32, True, True, True),
    Level("x86-64-v3", _X86, "x86-64-v3", "", 256, 16, True, False, True),
    Level("x86-64", _X86, "x86-64", "", 128, 16, False, False, False),
    Level("aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon", 128, 32, True, False, False),
)
LEVELS = {level.name: level for level in _LEVELS}

# What separates the x86-64 levels, by LLVM's names (the psABI lists more, but no CPU has only a part of them).
_REQUIRED = {
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "bmi2", "f16c"),
    "x86-64-v3": ("avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"),
    "x86-64": (),
}


# Where Linux has other names for them.
_LINUX = {"bmi": "bmi1", "lzcnt": "abm"}


def _kernel_says(what: str) -> str:
    """Return a line of what Linux says of a processor; empty elsewhere. It costs a thirtieth of importing LLVM to ask that."""
    try:
        with open("/proc/cpuinfo") as lines:
            found = next((line for line in lines if line.startswith(what)), "")
    except OSError:
        found = ""
    return found.partition(":")[2].strip()


def processor() -> str:
    """Return the processor's name, as far as the system tells it: what is fast on one may be slow on another."""
    return _kernel_says("model name") or platform.processor() or platform.machine()


@functools.cache
def supported_levels() -> tuple[str, ...]:
    """Return the names of the levels whose code this machine can run, best first."""
    flags = frozenset(_kernel_says("flags").split())
    if flags:
        return tuple(
            name for name, needed in _REQUIRED.items() if flags.issuperset(_LINUX.get(one, one) for one in needed)
        )
    import llvmlite.binding as llvm

    machine = llvm.get_process_triple().split("-")[0]
    if machine in ("aarch64", "arm64"):
        return ("aarch64",)
    features = llvm.get_host_cpu_features()
    return tuple(name for name, needed in _REQUIRED.items() if all(features.get(one) for one in needed))


def host_level() -> Level:
    """Return the best level that this CPU supports, or the one that `GRAPHC_CPU` forces.

    Raises ValueError when GRAPHC_CPU is not the name of a level.
    """
    forced = os.environ.get("GRAPHC_CPU")
    if forced:
        if forced not in LEVELS:
            raise ValueError(f"GRAPHC_CPU={forced!r} is not a level; the levels are {', '.join(LEVELS)}")
        return LEVELS[forced]
    supported = supported_levels()
    if not supported:
        raise ValueError(f"graphc has no code generator for this machine ({sys.platform})")
    return LEVELS[supported[0]]
