"""Data sets from files, and series cut for recurrent networks, as arrays."""

from graphc.data.cifar import load_cifar
from graphc.data.idx import load_idx
from graphc.data.stream import stream

__all__ = ["load_cifar", "load_idx", "stream"]
