"""What the FMA peak is measured by touches no memory on any level: spilled sums would be timed instead of products."""

import re

import pytest

from graphc.emit.objects import assembly
from graphc.simd.levels import LEVELS
from tests.benchmarks.machine import LANES, fma_source


def innermost(text):
    """Return the lines between a label and the jump back to it."""
    (loop,) = re.findall(
        r"^(\.LBB\w+):\n((?:(?!^\.LBB)[^\n]*\n)*?)\s+(?:j\w+|b\.\w+|cbnz?|tbn?z)\s[^\n]*\1\n", text, re.M
    )
    return loop[1]


@pytest.mark.parametrize("level", LEVELS.values(), ids=str)
@pytest.mark.parametrize("kind", LANES)
def test_the_loop_of_the_peak_touches_no_memory(level, kind):
    loop = innermost(assembly(fma_source(kind, level), "kernel", level))
    assert re.search(r"\b(vfmadd|mulp|fmla|fmadd)", loop), loop
    assert not re.search(r"\(%r|\[(sp|x\d)", loop), loop
