# pyright: reportUnusedImport=false
"""The whole dialect: importing this module defines every function."""

import graphc.simd.basic
import graphc.simd.check
import graphc.simd.formulas
import graphc.simd.memory
import graphc.simd.philox  # noqa: F401
from graphc.simd.record import FUNCTIONS, OPERATORS

NAMES = tuple(FUNCTIONS)
__all__ = ["FUNCTIONS", "NAMES", "OPERATORS"]
