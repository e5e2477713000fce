"""An explicit SIMD dialect of Python: logical vector types, their functions with NumPy twins, and CPU levels."""
