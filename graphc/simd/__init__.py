"""An explicit SIMD dialect for Numba: logical vector types, their functions with NumPy twins, and CPU levels."""
