"""Linear algebra: solving, factorising, inverting, on the last two axes; needs SciPy, for its LAPACK."""

from graphc.ops.decompositions import cholesky, eigh, qr, slogdet, svd
from graphc.ops.solving import inv, solve, triangular_solve

__all__ = ["cholesky", "eigh", "inv", "qr", "slogdet", "solve", "svd", "triangular_solve"]
