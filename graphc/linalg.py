"""Linear algebra: solving, factorising, inverting, on the last two axes; needs SciPy, for its LAPACK.

A library with threads of its own can lose far more than it gains on matrices of this size, where other work keeps the cores
busy; OPENBLAS_NUM_THREADS=1 in the environment keeps it to one.
"""

from graphc.ops.decompositions import cholesky, eigh, qr, slogdet, svd
from graphc.ops.solving import inv, solve, triangular_solve

__all__ = ["cholesky", "eigh", "inv", "qr", "slogdet", "solve", "svd", "triangular_solve"]
