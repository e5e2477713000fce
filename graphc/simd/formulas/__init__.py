# pyright: reportUnusedImport=false
"""The functions of floats, each formula written once for `Emitter` (compiled) and `Arrays` (its own twin).

Errors are measured in `tests/simd/accuracy.py` and printed in `docs/mathematics.md`. Infinities, NaN, signed zeros and
denormals come out as in C's libm.
"""

import graphc.simd.formulas.error_function
import graphc.simd.formulas.exponential
import graphc.simd.formulas.inverse_trigonometry
import graphc.simd.formulas.logarithm
import graphc.simd.formulas.normal
import graphc.simd.formulas.power
import graphc.simd.formulas.trigonometry  # noqa: F401
