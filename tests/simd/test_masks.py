"""Masked loads and stores read and write their active lanes and nothing else, however much the compiler knows of the mask.

Buffers end at a protected page right behind the active lanes. LLVM 22 turned some of these into plain loads.
"""

import ctypes
import random

import numpy as np
import pytest

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Guarded

KINDS = {"f64": "f8", "f32": "f4", "i32": "i4", "i64": "i8", "u8": "u1"}
MASKS = {
    "known limit": "bx{L}(g) & (iota_i64x{L}(0) < i64x{L}({limit})) & tail_bx{L}({tail})",
    "two tails": "tail_bx{L}(count) & tail_bx{L}({tail})",
    "known tail": "bx{L}(g) & tail_bx{L}({tail})",
    "constant": "tail_bx{L}({tail})",
}
SOURCE = """
def {name}(args, thread, threads):
    p = word(args, 1)
    q = word(args, 2)
    count = word(args, 3)
    g = count > 0
    mask = {mask}
    v = load_{kind}x{L}(p, mask)
    n = iota_i64x{L}(0) * i64x{L}({size})
    w = gather_{kind}x{L}(p, n, mask)
    store(select(v == w, v, {kind}x{L}(77)), q, tail_bx{L}({stored}))
"""


@pytest.mark.parametrize("level", supported_levels())
def test_masked_access(level):
    generator = random.Random(1)
    cases = {}
    for n in range(60):
        kind, lanes, form = generator.choice(list(KINDS)), generator.choice([8, 16]), generator.choice(list(MASKS))
        tail, stored, limit = generator.randint(1, lanes), generator.randint(1, lanes), generator.randint(0, lanes)
        size = np.dtype(KINDS[kind]).itemsize
        mask = MASKS[form].format(L=lanes, tail=tail, limit=limit)
        text = SOURCE.format(name=f"k{n}", mask=mask, kind=kind, L=lanes, stored=stored, size=size)
        cases[f"k{n}"] = (text, kind, lanes, form, tail, stored, limit)
    loader = Loader({name: compile_kernel(case[0], name, LEVELS[level]) for name, case in cases.items()})
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    for name, (_, kind, lanes, form, tail, stored, limit) in cases.items():
        dtype = np.dtype(KINDS[kind])
        for count in (0, 1, 3, lanes):
            active = {
                "known limit": min(limit, tail) if count else 0,
                "two tails": min(count, tail),
                "known tail": tail if count else 0,
                "constant": tail,
            }[form]
            source, target, args = Guarded(active * dtype.itemsize), Guarded(stored * dtype.itemsize), Guarded(32)
            source.array(dtype, (active,))[...] = np.arange(1, active + 1)
            args.array(np.int64, (4,))[...] = [0, source.address, target.address, count]
            function(loader.address(name))(args.address, 0, 1)
            wanted = np.zeros(stored, dtype)
            wanted[: min(active, stored)] = np.arange(1, min(active, stored) + 1)
            np.testing.assert_array_equal(target.array(dtype, (stored,)), wanted)
