"""Data sets from files, as arrays."""

from graphc.data.cifar import load_cifar
from graphc.data.idx import load_idx

__all__ = ["load_cifar", "load_idx"]
"""Data sets, and series cut for recurrent networks, as arrays."""

from graphc.data.stream import stream

__all__ = ["stream"]
