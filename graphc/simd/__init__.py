"""An explicit SIMD dialect for Numba: logical vector types, their functions with NumPy twins, and CPU levels."""

from graphc.simd import twin
from graphc.simd.dialect import FUNCTIONS, NAMES
from graphc.simd.kinds import SimdType
from graphc.simd.levels import LEVELS, Level, host_level, supported_levels

__all__ = ["FUNCTIONS", "LEVELS", "NAMES", "Level", "SimdType", "host_level", "supported_levels", "twin"]
