"""Training runs: fit and its history."""

from graphc.train.fit import fit
from graphc.train.history import History

__all__ = ["History", "fit"]
